/*
 * Reads a region of atomscope: shared memory in which a probe inside a node writes what the node does. LAYOUT.md describes
 * every byte, and is needed to use this header. Readers map a region read-only; writers never wait for them.
 *
 * Needs C11 or C++11, the atomics of GCC or Clang, and a little-endian processor. It allocates nothing, and calls only
 * `memcpy`. Trust no value: a dead or damaged region may hold anything. The functions stay inside of the memory that
 * `atomscope_open` was given, and end after a bounded number of steps. Texts are not terminated, may hold control
 * characters, and are UTF-8 only if their writer is sound.
 *
 * `example.c` shows a whole reader: it maps a file, and prints actors, metrics and records.
 */
#ifndef ATOMSCOPE_H
#define ATOMSCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the words of a region are little-endian"
#endif

#ifdef __cplusplus
#define ATOMSCOPE_ASSERT(holds, text) static_assert(holds, text)
#else
#define ATOMSCOPE_ASSERT(holds, text) _Static_assert(holds, text)
#endif

/* Made of the tables in LAYOUT.md by layout/tests/c_header.rs. Do not edit. */

#define ATOMSCOPE_VERSION_MAJOR 2
#define ATOMSCOPE_VERSION_MINOR 0

#define ATOMSCOPE_MAX_SECTIONS 32
#define ATOMSCOPE_MAX_LANES 1024
#define ATOMSCOPE_MAX_METRICS 65536
#define ATOMSCOPE_MAX_NAMES 1048576
#define ATOMSCOPE_MAX_ACTORS 4000000
#define ATOMSCOPE_MAX_DEAD_LETTERS 1048576
#define ATOMSCOPE_MAX_EVENTS 1048576
#define ATOMSCOPE_MAX_INSTANCES 1048576
#define ATOMSCOPE_MAX_DOCUMENT_BYTES 67108864
#define ATOMSCOPE_MAX_HISTOGRAMS 4096
#define ATOMSCOPE_MAX_JOURNAL_WRITES 65536
#define ATOMSCOPE_MAX_CLOCK_SAMPLES 4096
#define ATOMSCOPE_MAX_FAILURES 4096
#define ATOMSCOPE_MAX_PANICS 65536
#define ATOMSCOPE_MAX_INSTRUMENTS 1048576
#define ATOMSCOPE_MAX_CLASSES 4096
#define ATOMSCOPE_MAX_VARIANTS 65536
#define ATOMSCOPE_MAX_THREADS 65536
#define ATOMSCOPE_MAX_KINDS 4096
#define ATOMSCOPE_MAX_FIELDS 65536
#define ATOMSCOPE_MAX_RECORDS 65536

/* Where a field of the header begins. */
#define ATOMSCOPE_HEADER_MAGIC 0
#define ATOMSCOPE_HEADER_VERSION 8
#define ATOMSCOPE_HEADER_RECORD 16
#define ATOMSCOPE_HEADER_STATE 128
#define ATOMSCOPE_HEADER_CONDITIONS 136
#define ATOMSCOPE_HEADER_ATTACHED 144
#define ATOMSCOPE_HEADER_TIME 152
#define ATOMSCOPE_HEADER_HISTORY 192
#define ATOMSCOPE_HEADER_SERIES_ENDED 216
#define ATOMSCOPE_HEADER_PROCESS_BEAT 256
#define ATOMSCOPE_HEADER_RUNTIME_BEAT 384
#define ATOMSCOPE_HEADER_END 512
#define ATOMSCOPE_HEADER_NODE 640
#define ATOMSCOPE_HEADER_SYSTEM 896
#define ATOMSCOPE_HEADER_PROGRAM 1152
#define ATOMSCOPE_HEADER_WRITER 1664
#define ATOMSCOPE_HEADER_POLL_BEAT 1792
#define ATOMSCOPE_HEADER_ACTORS_USED 1920
#define ATOMSCOPE_HEADER_INSTANCES_USED 1928
#define ATOMSCOPE_HEADER_DIRECTORY 2048

/* Sections, and of each its number, its least count and its least stride. */
#define ATOMSCOPE_SECTION_COUNTERS 1
#define ATOMSCOPE_SECTION_METRICS 2
#define ATOMSCOPE_SECTION_NAMES 3
#define ATOMSCOPE_SECTION_ACTORS 4
#define ATOMSCOPE_SECTION_DEAD_LETTERS 5
#define ATOMSCOPE_SECTION_EVENTS 6
#define ATOMSCOPE_SECTION_INSTANCES 7
#define ATOMSCOPE_SECTION_DOCUMENTS 8
#define ATOMSCOPE_SECTION_HISTOGRAMS 9
#define ATOMSCOPE_SECTION_JOURNAL_WRITES 10
#define ATOMSCOPE_SECTION_CLOCK_SAMPLES 11
#define ATOMSCOPE_SECTION_FAILURES 12
#define ATOMSCOPE_SECTION_PANICS 13
#define ATOMSCOPE_SECTION_CELLS 14
#define ATOMSCOPE_SECTION_CLASSES 15
#define ATOMSCOPE_SECTION_VARIANTS 16
#define ATOMSCOPE_SECTION_HANDLED 17
#define ATOMSCOPE_SECTION_THREADS 18
#define ATOMSCOPE_SECTION_KINDS 19
#define ATOMSCOPE_SECTION_FIELDS 20
#define ATOMSCOPE_SECTION_OWN_RECORDS 21

#define ATOMSCOPE_SECTIONS(X) \
    X(1, 1, 768) \
    X(2, 96, 384) \
    X(3, 1, 256) \
    X(4, 1, 320) \
    X(5, 2, 384) \
    X(6, 1, 512) \
    X(7, 1, 384) \
    X(8, 2, 640) \
    X(9, 1, 1536) \
    X(10, 2, 256) \
    X(11, 2, 64) \
    X(12, 1, 768) \
    X(13, 2, 512) \
    X(14, 1, 64) \
    X(15, 1, 3136) \
    X(16, 1, 16) \
    X(17, 1, 128) \
    X(18, 1, 64) \
    X(19, 1, 128) \
    X(20, 1, 128) \
    X(21, 1, 1152)
#define ATOMSCOPE_LAST_SECTION 21

#define ATOMSCOPE_STATE_STARTING 1
#define ATOMSCOPE_STATE_RUNNING 2
#define ATOMSCOPE_STATE_STOPPING 3
#define ATOMSCOPE_STATE_CLOSED 4

#define ATOMSCOPE_CONDITION_RUNTIME_DROPPED 0
#define ATOMSCOPE_CONDITION_SYSTEM_DROPPED 1
#define ATOMSCOPE_CONDITION_SPAWN_HOOK_REPLACED 2
#define ATOMSCOPE_CONDITION_DEAD_LETTER_HOOK_REPLACED 3

#define ATOMSCOPE_SLOT_FREE 0
#define ATOMSCOPE_SLOT_BUSY 1
#define ATOMSCOPE_SLOT_LIVE 2
#define ATOMSCOPE_SLOT_ORPHAN 3

#define ATOMSCOPE_END_EXIT 1
#define ATOMSCOPE_END_SIGNAL 2
#define ATOMSCOPE_END_UNKNOWN 3

#define ATOMSCOPE_SEVERITY_PANIC 1
#define ATOMSCOPE_SEVERITY_ERROR 2
#define ATOMSCOPE_SEVERITY_WARNING 3

#define ATOMSCOPE_EVENT_ACTOR_SPAWNED 1
#define ATOMSCOPE_EVENT_ACTOR_STOPPED 2
#define ATOMSCOPE_EVENT_MAILBOX_SAMPLED 3
#define ATOMSCOPE_EVENT_DEAD_LETTER 4
#define ATOMSCOPE_EVENT_CLUSTER_CHANGED 5
#define ATOMSCOPE_EVENT_SHARDING_CHANGED 6
#define ATOMSCOPE_EVENT_JOURNAL_WRITE 7
#define ATOMSCOPE_EVENT_REMOTE_ASSOCIATION 8
#define ATOMSCOPE_EVENT_STREAMS_GRAPH_STARTED 9
#define ATOMSCOPE_EVENT_STREAMS_GRAPH_FINISHED 10
#define ATOMSCOPE_EVENT_D_DATA_UPDATED 11
#define ATOMSCOPE_EVENT_PANICKED 12
#define ATOMSCOPE_EVENT_OWN 13
#define ATOMSCOPE_EVENT_LONG_POLL 14

#define ATOMSCOPE_DOMAIN_ASSOCIATIONS 1
#define ATOMSCOPE_DOMAIN_GRAPHS 2
#define ATOMSCOPE_DOMAIN_JOURNALS 3
#define ATOMSCOPE_DOMAIN_PERSISTENCE_IDS 4
#define ATOMSCOPE_DOMAIN_SHARD_REGIONS 5
#define ATOMSCOPE_DOMAIN_SHARDS 6
#define ATOMSCOPE_DOMAIN_KEYS 7
#define ATOMSCOPE_DOMAIN_LEASES 8
#define ATOMSCOPE_DOMAIN_WORKERS 9
#define ATOMSCOPE_DOMAIN_NODE_METRICS 10

#define ATOMSCOPE_MODE_UNKNOWN 0
#define ATOMSCOPE_MODE_RUNS 1
#define ATOMSCOPE_MODE_AWAITS 2

#define ATOMSCOPE_TYPE_U8 1
#define ATOMSCOPE_TYPE_U16 2
#define ATOMSCOPE_TYPE_U32 3
#define ATOMSCOPE_TYPE_U64 4
#define ATOMSCOPE_TYPE_I8 5
#define ATOMSCOPE_TYPE_I16 6
#define ATOMSCOPE_TYPE_I32 7
#define ATOMSCOPE_TYPE_I64 8
#define ATOMSCOPE_TYPE_F32 9
#define ATOMSCOPE_TYPE_F64 10
#define ATOMSCOPE_TYPE_BOOL 11
#define ATOMSCOPE_TYPE_TEXT 12
#define ATOMSCOPE_TYPE_ENUM 13

#define ATOMSCOPE_ATTACHMENT_CLUSTER_ATTACH 0
#define ATOMSCOPE_ATTACHMENT_CLUSTER_WRAP_TRANSPORT 1
#define ATOMSCOPE_ATTACHMENT_CLUSTER_WRAP_GOSSIP_INBOX 2
#define ATOMSCOPE_ATTACHMENT_CLUSTER_WRAP_DOWNING 3
#define ATOMSCOPE_ATTACHMENT_CLUSTER_QUORUM_OBSERVER 4
#define ATOMSCOPE_ATTACHMENT_CLUSTER_METRICS_ATTACH 5
#define ATOMSCOPE_ATTACHMENT_SHARDING_ATTACH_REGION 6
#define ATOMSCOPE_ATTACHMENT_SHARDING_WRAP_EXTRACTOR 7
#define ATOMSCOPE_ATTACHMENT_SHARDING_WRAP_HANDLERS 8
#define ATOMSCOPE_ATTACHMENT_SHARDING_WRAP_FORWARDER 9
#define ATOMSCOPE_ATTACHMENT_SHARDING_WRAP_STRATEGY 10
#define ATOMSCOPE_ATTACHMENT_SHARDING_ATTACH_COORDINATOR 11
#define ATOMSCOPE_ATTACHMENT_SHARDING_ATTACH_HAND_OFFS 12
#define ATOMSCOPE_ATTACHMENT_SHARDING_ATTACH_PASSIVATION 13
#define ATOMSCOPE_ATTACHMENT_SHARDING_RECORD_PASSIVATION 14
#define ATOMSCOPE_ATTACHMENT_SHARDING_SET_SNAPSHOT 15
#define ATOMSCOPE_ATTACHMENT_PERSISTENCE_WRAP_JOURNAL 16
#define ATOMSCOPE_ATTACHMENT_PERSISTENCE_RECORD_WRITE 17
#define ATOMSCOPE_ATTACHMENT_PERSISTENCE_WRAP_SNAPSHOT_STORE 18
#define ATOMSCOPE_ATTACHMENT_PERSISTENCE_WATCH_RECOVERY 19
#define ATOMSCOPE_ATTACHMENT_REMOTE_ATTACH 20
#define ATOMSCOPE_ATTACHMENT_REMOTE_REFRESH_FROM_ENDPOINT_MANAGER 21
#define ATOMSCOPE_ATTACHMENT_REMOTE_RECORD_ASSOCIATION 22
#define ATOMSCOPE_ATTACHMENT_REMOTE_RECORD_INBOUND_BYTES 23
#define ATOMSCOPE_ATTACHMENT_REMOTE_RECORD_OUTBOUND_BYTES 24
#define ATOMSCOPE_ATTACHMENT_STREAMS_WATCH 25
#define ATOMSCOPE_ATTACHMENT_STREAMS_WATCH_GRAPH 26
#define ATOMSCOPE_ATTACHMENT_STREAMS_START_GRAPH 27
#define ATOMSCOPE_ATTACHMENT_DDATA_ATTACH 28
#define ATOMSCOPE_ATTACHMENT_DDATA_WRAP_STORE 29
#define ATOMSCOPE_ATTACHMENT_DDATA_RECORD_UPDATE 30
#define ATOMSCOPE_ATTACHMENT_DDATA_RECORD_DELETE 31
#define ATOMSCOPE_ATTACHMENT_LEASES_WRAP 32
#define ATOMSCOPE_ATTACHMENT_INSTALL 33
#define ATOMSCOPE_ATTACHMENT_PANICS 34
#define ATOMSCOPE_ATTACHMENT_FAILURE_LAYER 35
#define ATOMSCOPE_ATTACHMENT_WATCH_RUNTIME_OF_A_BUILDER 36

/* Flags, as the numbers of their bits. */
#define ATOMSCOPE_ACTOR_FLAG_PARENT 0
#define ATOMSCOPE_ACTOR_FLAG_PARENT_IS_PREFIX 1
#define ATOMSCOPE_ACTOR_FLAG_PATH_CUT 2
#define ATOMSCOPE_ACTOR_FLAG_TEXT_CUT 3
#define ATOMSCOPE_ACTOR_FLAG_SPAWNED_TEXT 4
#define ATOMSCOPE_ACTOR_FLAG_HOST 5
#define ATOMSCOPE_ACTOR_FLAG_DEPTH 6

#define ATOMSCOPE_LETTER_FLAG_SENDER 0
#define ATOMSCOPE_LETTER_FLAG_TEXT_CUT 1

#define ATOMSCOPE_EVENT_FLAG_OPTIONAL 0
#define ATOMSCOPE_EVENT_FLAG_TEXT_CUT 3
#define ATOMSCOPE_EVENT_FLAG_TIME_TEXT 4
#define ATOMSCOPE_EVENT_FLAG_REACHABLE 5
#define ATOMSCOPE_EVENT_FLAG_LIST_SHIFT 8

#define ATOMSCOPE_FAILURE_FLAG_MESSAGE 0
#define ATOMSCOPE_FAILURE_FLAG_TEXT_CUT 1

#define ATOMSCOPE_END_FLAG_PANICKED 0
#define ATOMSCOPE_END_FLAG_HAS_ADDRESS 1

/* The numbers of the built-in metrics. */
#define ATOMSCOPE_METRIC_ACTORS_SPAWNED 0
#define ATOMSCOPE_METRIC_ACTORS_STOPPED 1
#define ATOMSCOPE_METRIC_ACTORS_REPLACED 2
#define ATOMSCOPE_METRIC_ACTORS_FOREIGN 3
#define ATOMSCOPE_METRIC_ACTORS_EARLY_STOPS 4
#define ATOMSCOPE_METRIC_ACTORS_EARLY_STOPS_DONE 5
#define ATOMSCOPE_METRIC_ACTORS_SPILLED 6
#define ATOMSCOPE_METRIC_ACTORS_SPILLED_STOPPED 7
#define ATOMSCOPE_METRIC_ACTORS_UNTRACKED_SPAWNS 8
#define ATOMSCOPE_METRIC_ACTORS_UNTRACKED_STOPS 9
#define ATOMSCOPE_METRIC_ACTORS_UNTRACKED_MATCHED 10
#define ATOMSCOPE_METRIC_TEXTS_CUT 11
#define ATOMSCOPE_METRIC_NAMES_FULL 12
#define ATOMSCOPE_METRIC_DEAD_LETTERS_ABANDONED 13
#define ATOMSCOPE_METRIC_SAMPLER_ROUNDS 14
#define ATOMSCOPE_METRIC_SAMPLER_TIME 15
#define ATOMSCOPE_METRIC_EVENTS_ABANDONED 16
#define ATOMSCOPE_METRIC_EVENTS_STOPS_UNPUBLISHED 17
#define ATOMSCOPE_METRIC_ACTORS_UPDATES_MISSED 18
#define ATOMSCOPE_METRIC_POLL_ROUNDS 19
#define ATOMSCOPE_METRIC_POLL_TIME 20
#define ATOMSCOPE_METRIC_POLL_PANICKED 21
#define ATOMSCOPE_METRIC_REMOTE_UNLISTED 22
#define ATOMSCOPE_METRIC_STREAMS_UNLISTED 23
#define ATOMSCOPE_METRIC_PERSISTENCE_UNLISTED_JOURNALS 24
#define ATOMSCOPE_METRIC_PERSISTENCE_UNLISTED_IDS 25
#define ATOMSCOPE_METRIC_SHARDING_UNLISTED_REGIONS 26
#define ATOMSCOPE_METRIC_SHARDING_UNLISTED_SHARDS 27
#define ATOMSCOPE_METRIC_DDATA_UNLISTED 28
#define ATOMSCOPE_METRIC_LEASES_UNLISTED 29
#define ATOMSCOPE_METRIC_RUNTIME_UNLISTED 30
#define ATOMSCOPE_METRIC_CLUSTER_UNLISTED_METRICS 31
#define ATOMSCOPE_METRIC_DOCUMENTS_ROWS_DROPPED 32
#define ATOMSCOPE_METRIC_CLUSTER_CHANGES 33
#define ATOMSCOPE_METRIC_CLUSTER_GOSSIP_SENT 34
#define ATOMSCOPE_METRIC_CLUSTER_GOSSIP_RECEIVED 35
#define ATOMSCOPE_METRIC_CLUSTER_DOWNING_CALLS 36
#define ATOMSCOPE_METRIC_CLUSTER_DOWNING_DECISIONS 37
#define ATOMSCOPE_METRIC_CLUSTER_QUORUM_LOST 38
#define ATOMSCOPE_METRIC_CLUSTER_QUORUM_REGAINED 39
#define ATOMSCOPE_METRIC_SHARDING_ALLOCATIONS 40
#define ATOMSCOPE_METRIC_SHARDING_REBALANCES 41
#define ATOMSCOPE_METRIC_SHARDING_REBALANCED_SHARDS 42
#define ATOMSCOPE_METRIC_SHARDING_HAND_OFFS_STARTED 43
#define ATOMSCOPE_METRIC_SHARDING_HAND_OFFS_DONE 44
#define ATOMSCOPE_METRIC_SHARDING_MESSAGES 45
#define ATOMSCOPE_METRIC_PERSISTENCE_EVENTS 46
#define ATOMSCOPE_METRIC_PERSISTENCE_FAILURES 47
#define ATOMSCOPE_METRIC_PERSISTENCE_SNAPSHOTS_SAVED 48
#define ATOMSCOPE_METRIC_PERSISTENCE_SNAPSHOTS_LOADED 49
#define ATOMSCOPE_METRIC_PERSISTENCE_SNAPSHOT_FAILURES 50
#define ATOMSCOPE_METRIC_PERSISTENCE_WRITES_ABANDONED 51
#define ATOMSCOPE_METRIC_PERSISTENCE_RECOVERY_PERMITS 52
#define ATOMSCOPE_METRIC_PERSISTENCE_RECOVERIES_RUNNING 53
#define ATOMSCOPE_METRIC_REMOTE_ERRORS 54
#define ATOMSCOPE_METRIC_REMOTE_QUARANTINES 55
#define ATOMSCOPE_METRIC_STREAMS_STARTED 56
#define ATOMSCOPE_METRIC_STREAMS_FINISHED 57
#define ATOMSCOPE_METRIC_STREAMS_FAILED 58
#define ATOMSCOPE_METRIC_STREAMS_ELEMENTS 59
#define ATOMSCOPE_METRIC_DDATA_UPDATES 60
#define ATOMSCOPE_METRIC_DDATA_DELETES 61
#define ATOMSCOPE_METRIC_LEASES_ACQUIRED 62
#define ATOMSCOPE_METRIC_LEASES_DENIED 63
#define ATOMSCOPE_METRIC_LEASES_LOST 64
#define ATOMSCOPE_METRIC_RUNTIME_WORKERS 65
#define ATOMSCOPE_METRIC_RUNTIME_TASKS 66
#define ATOMSCOPE_METRIC_RUNTIME_QUEUE 67
#define ATOMSCOPE_METRIC_CLUSTER_METRIC_SAMPLES 68
#define ATOMSCOPE_METRIC_POLL_INTERVAL 69
#define ATOMSCOPE_METRIC_ACTORS_DOUBTFUL_STOPS 70
#define ATOMSCOPE_METRIC_CLOCK_UNLISTED 71
#define ATOMSCOPE_METRIC_FAILURES_PANICS 72
#define ATOMSCOPE_METRIC_FAILURES_ERRORS 73
#define ATOMSCOPE_METRIC_FAILURES_WARNINGS 74
#define ATOMSCOPE_METRIC_FAILURES_UNLISTED 75
#define ATOMSCOPE_METRIC_FAILURES_PANICS_ABANDONED 76
#define ATOMSCOPE_METRIC_FAILURES_MISSED 77
#define ATOMSCOPE_METRIC_METRICS_UNLISTED 78
#define ATOMSCOPE_METRIC_RUNTIME_LONG_POLLS 79
#define ATOMSCOPE_METRIC_RECORDS_UNLISTED 80
#define ATOMSCOPE_METRIC_RUNTIME_POLLS 81

struct atomscope_header_record {
    uint64_t region_bytes;
    uint64_t header_bytes;
    uint64_t sections;
    uint64_t pid;
    uint64_t uid;
    uint64_t process_start_ticks;
    unsigned char boot_id[16];
    uint64_t pid_namespace;
    uint64_t created_unix_ns;
    uint64_t actor_capacity;
    uint64_t flags;
    uint64_t builtins;
    uint64_t reserved;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, region_bytes) == 0, "header_record.region_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, header_bytes) == 8, "header_record.header_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, sections) == 16, "header_record.sections");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, pid) == 24, "header_record.pid");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, uid) == 32, "header_record.uid");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, process_start_ticks) == 40, "header_record.process_start_ticks");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, boot_id) == 48, "header_record.boot_id");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, pid_namespace) == 64, "header_record.pid_namespace");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, created_unix_ns) == 72, "header_record.created_unix_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, actor_capacity) == 80, "header_record.actor_capacity");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, flags) == 88, "header_record.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, builtins) == 96, "header_record.builtins");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_header_record, reserved) == 104, "header_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_header_record) == 112, "header_record");

struct atomscope_time_record {
    uint64_t time_namespace;
    int64_t mono_offset_ns;
    int64_t boot_offset_ns;
    uint64_t created_mono_ns;
    uint64_t created_boot_ns;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_time_record, time_namespace) == 0, "time_record.time_namespace");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_time_record, mono_offset_ns) == 8, "time_record.mono_offset_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_time_record, boot_offset_ns) == 16, "time_record.boot_offset_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_time_record, created_mono_ns) == 24, "time_record.created_mono_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_time_record, created_boot_ns) == 32, "time_record.created_boot_ns");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_time_record) == 40, "time_record");

struct atomscope_history_record {
    uint64_t crashes;
    uint64_t first_unix_ns;
    uint64_t newest_unix_ns;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_history_record, crashes) == 0, "history_record.crashes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_history_record, first_unix_ns) == 8, "history_record.first_unix_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_history_record, newest_unix_ns) == 16, "history_record.newest_unix_ns");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_history_record) == 24, "history_record");

struct atomscope_end_record {
    uint64_t kind;
    uint64_t code;
    uint64_t unix_ns;
    uint64_t mono_ns;
    uint64_t tid;
    unsigned char thread[16];
    uint64_t sender;
    uint64_t address;
    uint64_t flags;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, kind) == 0, "end_record.kind");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, code) == 8, "end_record.code");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, unix_ns) == 16, "end_record.unix_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, mono_ns) == 24, "end_record.mono_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, tid) == 32, "end_record.tid");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, thread) == 40, "end_record.thread");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, sender) == 56, "end_record.sender");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, address) == 64, "end_record.address");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_end_record, flags) == 72, "end_record.flags");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_end_record) == 80, "end_record");

struct atomscope_section_record {
    uint64_t id;
    uint64_t offset_bytes;
    uint64_t count;
    uint64_t stride_bytes;
    uint64_t record_bytes;
    unsigned char reserved[24];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_section_record, id) == 0, "section_record.id");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_section_record, offset_bytes) == 8, "section_record.offset_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_section_record, count) == 16, "section_record.count");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_section_record, stride_bytes) == 24, "section_record.stride_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_section_record, record_bytes) == 32, "section_record.record_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_section_record, reserved) == 40, "section_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_section_record) == 64, "section_record");

struct atomscope_clock_sample_record {
    uint64_t ticks;
    uint64_t mono_ns;
    uint64_t boot_ns;
    int64_t unix_ns;
    uint64_t rate;
    unsigned char reserved[16];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_clock_sample_record, ticks) == 0, "clock_sample_record.ticks");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_clock_sample_record, mono_ns) == 8, "clock_sample_record.mono_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_clock_sample_record, boot_ns) == 16, "clock_sample_record.boot_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_clock_sample_record, unix_ns) == 24, "clock_sample_record.unix_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_clock_sample_record, rate) == 32, "clock_sample_record.rate");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_clock_sample_record, reserved) == 40, "clock_sample_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_clock_sample_record) == 56, "clock_sample_record");

struct atomscope_metric_record {
    uint64_t ready;
    uint16_t name_bytes;
    uint16_t label_bytes;
    uint16_t unit_bytes;
    uint16_t help_bytes;
    unsigned char text[368];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_metric_record, ready) == 0, "metric_record.ready");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_metric_record, name_bytes) == 8, "metric_record.name_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_metric_record, label_bytes) == 10, "metric_record.label_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_metric_record, unit_bytes) == 12, "metric_record.unit_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_metric_record, help_bytes) == 14, "metric_record.help_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_metric_record, text) == 16, "metric_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_metric_record) == 384, "metric_record");

struct atomscope_actor_record {
    uint64_t control;
    uint64_t key[2];
    uint64_t spawned;
    uint32_t type_id;
    uint32_t flags;
    uint8_t path_bytes;
    uint8_t type_bytes;
    uint8_t spawned_bytes;
    uint8_t host_bytes;
    uint16_t parent_bytes;
    uint16_t zero;
    uint64_t cell;
    uint64_t depth;
    uint64_t parent_key[2];
    unsigned char text[192];
    unsigned char reserved[48];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, control) == 0, "actor_record.control");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, key) == 8, "actor_record.key");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, spawned) == 24, "actor_record.spawned");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, type_id) == 32, "actor_record.type_id");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, flags) == 36, "actor_record.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, path_bytes) == 40, "actor_record.path_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, type_bytes) == 41, "actor_record.type_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, spawned_bytes) == 42, "actor_record.spawned_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, host_bytes) == 43, "actor_record.host_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, parent_bytes) == 44, "actor_record.parent_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, zero) == 46, "actor_record.zero");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, cell) == 48, "actor_record.cell");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, depth) == 56, "actor_record.depth");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, parent_key) == 64, "actor_record.parent_key");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, text) == 80, "actor_record.text");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_actor_record, reserved) == 272, "actor_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_actor_record) == 320, "actor_record");

struct atomscope_letter_record {
    uint64_t stamp;
    uint32_t type_id;
    uint32_t flags;
    uint16_t recipient_bytes;
    uint16_t sender_bytes;
    uint16_t type_bytes;
    uint16_t preview_bytes;
    unsigned char text[344];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, stamp) == 0, "letter_record.stamp");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, type_id) == 8, "letter_record.type_id");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, flags) == 12, "letter_record.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, recipient_bytes) == 16, "letter_record.recipient_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, sender_bytes) == 18, "letter_record.sender_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, type_bytes) == 20, "letter_record.type_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, preview_bytes) == 22, "letter_record.preview_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_letter_record, text) == 24, "letter_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_letter_record) == 368, "letter_record");

struct atomscope_journal_write_record {
    uint64_t stamp;
    uint64_t sequence_nr;
    uint16_t journal_bytes;
    uint16_t persistence_id_bytes;
    uint32_t reserved;
    unsigned char text[216];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_journal_write_record, stamp) == 0, "journal_write_record.stamp");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_journal_write_record, sequence_nr) == 8, "journal_write_record.sequence_nr");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_journal_write_record, journal_bytes) == 16, "journal_write_record.journal_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_journal_write_record, persistence_id_bytes) == 18, "journal_write_record.persistence_id_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_journal_write_record, reserved) == 20, "journal_write_record.reserved");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_journal_write_record, text) == 24, "journal_write_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_journal_write_record) == 240, "journal_write_record");

struct atomscope_panic_record {
    uint64_t stamp;
    uint32_t failure;
    uint32_t tid;
    uint32_t class_;
    uint32_t flags;
    uint16_t location_bytes;
    uint16_t thread_bytes;
    uint16_t actor_bytes;
    uint16_t message_bytes;
    unsigned char text[464];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, stamp) == 0, "panic_record.stamp");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, failure) == 8, "panic_record.failure");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, tid) == 12, "panic_record.tid");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, class_) == 16, "panic_record.class");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, flags) == 20, "panic_record.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, location_bytes) == 24, "panic_record.location_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, thread_bytes) == 26, "panic_record.thread_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, actor_bytes) == 28, "panic_record.actor_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, message_bytes) == 30, "panic_record.message_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_panic_record, text) == 32, "panic_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_panic_record) == 496, "panic_record");

struct atomscope_event_record {
    uint64_t stamp;
    uint32_t type_id;
    uint32_t flags;
    uint16_t text_bytes[5];
    uint16_t kind;
    uint16_t part;
    uint16_t parts;
    uint64_t numbers[2];
    unsigned char text[192];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, stamp) == 0, "event_record.stamp");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, type_id) == 8, "event_record.type_id");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, flags) == 12, "event_record.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, text_bytes[0]) == 16, "event_record.text_bytes[0]");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, text_bytes[1]) == 18, "event_record.text_bytes[1]");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, text_bytes[2]) == 20, "event_record.text_bytes[2]");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, text_bytes[3]) == 22, "event_record.text_bytes[3]");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, text_bytes[4]) == 24, "event_record.text_bytes[4]");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, kind) == 26, "event_record.kind");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, part) == 28, "event_record.part");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, parts) == 30, "event_record.parts");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, numbers) == 32, "event_record.numbers");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_event_record, text) == 48, "event_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_event_record) == 240, "event_record");

struct atomscope_instance_record {
    uint64_t control;
    uint64_t key[2];
    uint64_t since;
    uint16_t domain;
    uint16_t name_bytes;
    uint32_t reserved;
    uint64_t owner[2];
    uint64_t counted_by;
    uint64_t numbers[16];
    unsigned char name[192];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, control) == 0, "instance_record.control");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, key) == 8, "instance_record.key");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, since) == 24, "instance_record.since");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, domain) == 32, "instance_record.domain");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, name_bytes) == 34, "instance_record.name_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, reserved) == 36, "instance_record.reserved");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, owner) == 40, "instance_record.owner");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, counted_by) == 56, "instance_record.counted_by");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, numbers) == 64, "instance_record.numbers");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_instance_record, name) == 192, "instance_record.name");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_instance_record) == 384, "instance_record");

struct atomscope_failure_record {
    uint64_t ready;
    uint64_t key;
    uint64_t count;
    uint64_t last;
    uint64_t first;
    uint32_t class_;
    uint32_t flags;
    uint16_t location_bytes;
    uint16_t thread_bytes;
    uint16_t actor_bytes;
    uint16_t target_bytes;
    uint16_t message_bytes;
    unsigned char zero[6];
    unsigned char text[640];
    unsigned char reserved[64];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, ready) == 0, "failure_record.ready");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, key) == 8, "failure_record.key");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, count) == 16, "failure_record.count");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, last) == 24, "failure_record.last");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, first) == 32, "failure_record.first");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, class_) == 40, "failure_record.class");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, flags) == 44, "failure_record.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, location_bytes) == 48, "failure_record.location_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, thread_bytes) == 50, "failure_record.thread_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, actor_bytes) == 52, "failure_record.actor_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, target_bytes) == 54, "failure_record.target_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, message_bytes) == 56, "failure_record.message_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, zero) == 58, "failure_record.zero");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, text) == 64, "failure_record.text");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_failure_record, reserved) == 704, "failure_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_failure_record) == 768, "failure_record");

struct atomscope_cell_record {
    uint64_t identity;
    uint64_t handled;
    uint64_t busy_ns;
    uint64_t since;
    uint64_t running;
    uint64_t failures;
    uint64_t polls;
    uint64_t task;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, identity) == 0, "cell_record.identity");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, handled) == 8, "cell_record.handled");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, busy_ns) == 16, "cell_record.busy_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, since) == 24, "cell_record.since");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, running) == 32, "cell_record.running");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, failures) == 40, "cell_record.failures");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, polls) == 48, "cell_record.polls");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_cell_record, task) == 56, "cell_record.task");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_cell_record) == 64, "cell_record");

struct atomscope_class_record {
    uint64_t name;
    uint64_t spawned;
    uint64_t stopped;
    uint64_t failures;
    uint64_t restarts;
    uint64_t untracked;
    uint64_t overwritten;
    uint64_t long_polls;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, name) == 0, "class_record.name");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, spawned) == 8, "class_record.spawned");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, stopped) == 16, "class_record.stopped");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, failures) == 24, "class_record.failures");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, restarts) == 32, "class_record.restarts");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, untracked) == 40, "class_record.untracked");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, overwritten) == 48, "class_record.overwritten");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_class_record, long_polls) == 56, "class_record.long_polls");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_class_record) == 64, "class_record");

struct atomscope_variant_record {
    uint64_t class_;
    uint64_t name;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_variant_record, class_) == 0, "variant_record.class");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_variant_record, name) == 8, "variant_record.name");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_variant_record) == 16, "variant_record");

struct atomscope_thread_record {
    uint64_t identity;
    uint64_t runtime;
    uint64_t parks;
    uint64_t since;
    unsigned char name[16];
    unsigned char reserved[16];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_thread_record, identity) == 0, "thread_record.identity");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_thread_record, runtime) == 8, "thread_record.runtime");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_thread_record, parks) == 16, "thread_record.parks");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_thread_record, since) == 24, "thread_record.since");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_thread_record, name) == 32, "thread_record.name");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_thread_record, reserved) == 48, "thread_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_thread_record) == 64, "thread_record");

struct atomscope_kind_record {
    uint64_t ready;
    uint16_t help_bytes;
    uint16_t name_bytes;
    uint32_t first_field;
    unsigned char text[112];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_kind_record, ready) == 0, "kind_record.ready");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_kind_record, help_bytes) == 8, "kind_record.help_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_kind_record, name_bytes) == 10, "kind_record.name_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_kind_record, first_field) == 12, "kind_record.first_field");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_kind_record, text) == 16, "kind_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_kind_record) == 128, "kind_record");

struct atomscope_field_record {
    uint64_t ready;
    uint8_t unit_bytes;
    uint8_t values_bytes;
    uint8_t name_bytes;
    uint8_t help_bytes;
    uint32_t length;
    unsigned char text[112];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, ready) == 0, "field_record.ready");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, unit_bytes) == 8, "field_record.unit_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, values_bytes) == 9, "field_record.values_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, name_bytes) == 10, "field_record.name_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, help_bytes) == 11, "field_record.help_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, length) == 12, "field_record.length");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_field_record, text) == 16, "field_record.text");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_field_record) == 128, "field_record");

struct atomscope_own_record {
    uint64_t sequence;
    uint64_t stamp;
    unsigned char payload[1024];
    uint64_t kind;
    uint64_t first;
    uint64_t name_bytes;
    unsigned char name[64];
    uint64_t lost;
    unsigned char reserved[16];
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, sequence) == 0, "own_record.sequence");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, stamp) == 8, "own_record.stamp");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, payload) == 16, "own_record.payload");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, kind) == 1040, "own_record.kind");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, first) == 1048, "own_record.first");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, name_bytes) == 1056, "own_record.name_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, name) == 1064, "own_record.name");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, lost) == 1128, "own_record.lost");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_own_record, reserved) == 1136, "own_record.reserved");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_own_record) == 1152, "own_record");

struct atomscope_raw_header {
    uint64_t magic;
    uint64_t version;
    uint64_t header_bytes;
    uint64_t region_bytes;
    uint64_t taken_unix_ns;
    uint64_t pid;
    uint64_t verdict;
    uint64_t evidence;
    uint64_t process_beat_age_ns;
    uint64_t runtime_beat_age_ns;
    uint64_t flags;
    uint64_t notes;
};
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, magic) == 0, "raw_header.magic");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, version) == 8, "raw_header.version");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, header_bytes) == 16, "raw_header.header_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, region_bytes) == 24, "raw_header.region_bytes");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, taken_unix_ns) == 32, "raw_header.taken_unix_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, pid) == 40, "raw_header.pid");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, verdict) == 48, "raw_header.verdict");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, evidence) == 56, "raw_header.evidence");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, process_beat_age_ns) == 64, "raw_header.process_beat_age_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, runtime_beat_age_ns) == 72, "raw_header.runtime_beat_age_ns");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, flags) == 80, "raw_header.flags");
ATOMSCOPE_ASSERT(offsetof(struct atomscope_raw_header, notes) == 88, "raw_header.notes");
ATOMSCOPE_ASSERT(sizeof(struct atomscope_raw_header) == 96, "raw_header");

/* End of what is made. */

#define ATOMSCOPE_HEADER_BYTES 4096
#define ATOMSCOPE_READY (UINT64_C(1) << 63)
#define ATOMSCOPE_TRIES 16
#define ATOMSCOPE_HISTOGRAM_WORDS 192
#define ATOMSCOPE_EVENT_SLOT_BYTES 256
#define ATOMSCOPE_RING_RECORD 16

/* Kinds of metrics: the lowest 8 bits of a ready word. */
#define ATOMSCOPE_KIND_COUNTER 1
#define ATOMSCOPE_KIND_GAUGE 2
#define ATOMSCOPE_KIND_HISTOGRAM 3
#define ATOMSCOPE_KIND_SIGNED_GAUGE 4
#define ATOMSCOPE_KIND_FLOATING_GAUGE 5

/* A section: where it begins, how many records it has, and the bytes from one to the next. */
struct atomscope_section {
    uint64_t offset;
    uint64_t count;
    uint64_t stride;
};

/* An open region. The memory is the caller's. */
struct atomscope_region {
    const uint64_t *words;
    uint64_t bytes;
    struct atomscope_header_record header;
    struct atomscope_section sections[ATOMSCOPE_LAST_SECTION + 1];
};

enum atomscope_result {
    ATOMSCOPE_OK,
    ATOMSCOPE_NOT_READY,    /* its writer has not finished it; try again later */
    ATOMSCOPE_NO_REGION,    /* something else */
    ATOMSCOPE_INCOMPATIBLE, /* another major version of the layout */
    ATOMSCOPE_TRUNCATED,
    ATOMSCOPE_CORRUPT
};

/* What the read of a record found. */
enum atomscope_found {
    ATOMSCOPE_READ,      /* the copy is whole */
    ATOMSCOPE_NONE,      /* the slot is free, or the ticket was never written */
    ATOMSCOPE_LAPPED,    /* a newer record has overwritten it */
    ATOMSCOPE_ABANDONED, /* its writer gave up */
    ATOMSCOPE_UNREADABLE /* its writer has not finished, and may have died */
};

/* Loads one word. 0 beyond the end. */
static inline uint64_t atomscope_load(const struct atomscope_region *region, uint64_t offset)
{
    uint64_t word = offset / 8;
    return word < region->bytes / 8 ? __atomic_load_n(&region->words[word], __ATOMIC_RELAXED) : 0;
}

/* No load after it is executed before a load that precedes it. */
static inline void atomscope_fence(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* Copies whole words. `bytes` is a multiple of 8. */
static inline void atomscope_copy(const struct atomscope_region *region, uint64_t offset, void *copy, size_t bytes)
{
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
        uint64_t word = atomscope_load(region, offset + at);
        memcpy((char *)copy + at, &word, 8);
    }
}

/* Where record `number` of a section begins; 0 if the section has no such record. */
static inline uint64_t atomscope_record(const struct atomscope_region *region, unsigned section, uint64_t number)
{
    const struct atomscope_section *of = &region->sections[section <= ATOMSCOPE_LAST_SECTION ? section : 0];
    return number < of->count ? of->offset + number * of->stride : 0;
}

/*
 * Opens a region, or the region in a raw dump, and checks its directory. `memory` is aligned to 8 bytes, and stays mapped as
 * long as the region is used.
 */
static inline enum atomscope_result atomscope_open(struct atomscope_region *region, const void *memory, uint64_t bytes)
{
    static const struct {
        unsigned id;
        uint64_t count, stride;
    } least[] = {
#define ATOMSCOPE_ROW(id, count, stride) {id, count, stride},
        ATOMSCOPE_SECTIONS(ATOMSCOPE_ROW)
#undef ATOMSCOPE_ROW
    };
    uint64_t offsets[ATOMSCOPE_MAX_SECTIONS], ends[ATOMSCOPE_MAX_SECTIONS], magic;

    memset(region, 0, sizeof *region);
    region->words = (const uint64_t *)memory;
    region->bytes = bytes;
    magic = atomscope_load(region, 0);
    if (memcmp(&magic, "ATOMSRAW", 8) == 0) {
        uint64_t region_bytes = atomscope_load(region, offsetof(struct atomscope_raw_header, region_bytes));
        if (bytes < ATOMSCOPE_HEADER_BYTES || region_bytes > bytes - ATOMSCOPE_HEADER_BYTES)
            return ATOMSCOPE_TRUNCATED;
        region->words += ATOMSCOPE_HEADER_BYTES / 8;
        region->bytes = region_bytes;
        magic = atomscope_load(region, 0);
    }
    atomscope_fence();
    if (region->bytes < ATOMSCOPE_HEADER_BYTES)
        return ATOMSCOPE_TRUNCATED;
    if (magic == 0)
        return ATOMSCOPE_NOT_READY;
    if (memcmp(&magic, "ATOMSCPE", 8) != 0)
        return ATOMSCOPE_NO_REGION;
    if (atomscope_load(region, ATOMSCOPE_HEADER_VERSION) >> 32 != ATOMSCOPE_VERSION_MAJOR)
        return ATOMSCOPE_INCOMPATIBLE;
    atomscope_copy(region, ATOMSCOPE_HEADER_RECORD, &region->header, sizeof region->header);
    if (region->header.header_bytes != ATOMSCOPE_HEADER_BYTES || region->header.region_bytes < ATOMSCOPE_HEADER_BYTES ||
        region->header.region_bytes % 8 != 0 || region->header.sections > ATOMSCOPE_MAX_SECTIONS)
        return ATOMSCOPE_CORRUPT;
    if (region->header.region_bytes > region->bytes)
        return ATOMSCOPE_TRUNCATED;
    region->bytes = region->header.region_bytes;

    for (uint64_t at = 0; at < region->header.sections; at++) {
        struct atomscope_section_record entry;
        atomscope_copy(region, ATOMSCOPE_HEADER_DIRECTORY + at * sizeof entry, &entry, sizeof entry);
        if (entry.offset_bytes < ATOMSCOPE_HEADER_BYTES || entry.offset_bytes % 128 != 0 ||
            entry.offset_bytes > region->bytes || entry.stride_bytes == 0 || entry.stride_bytes % 8 != 0 ||
            entry.count > (region->bytes - entry.offset_bytes) / entry.stride_bytes)
            return ATOMSCOPE_CORRUPT;
        offsets[at] = entry.offset_bytes;
        ends[at] = entry.offset_bytes + entry.count * entry.stride_bytes;
        for (uint64_t other = 0; other < at; other++)
            if (offsets[at] < ends[other] && offsets[other] < ends[at])
                return ATOMSCOPE_CORRUPT;
        if (entry.id >= 1 && entry.id <= ATOMSCOPE_LAST_SECTION) {
            struct atomscope_section *section = &region->sections[entry.id];
            if (section->stride != 0)
                return ATOMSCOPE_CORRUPT;
            section->offset = entry.offset_bytes;
            section->count = entry.count;
            section->stride = entry.stride_bytes;
        }
    }
    for (size_t at = 0; at < sizeof least / sizeof *least; at++) {
        const struct atomscope_section *section = &region->sections[least[at].id];
        if (section->count < least[at].count || section->stride < least[at].stride)
            return ATOMSCOPE_CORRUPT;
    }
    if (region->sections[ATOMSCOPE_SECTION_EVENTS].stride % ATOMSCOPE_EVENT_SLOT_BYTES != 0 ||
        region->sections[ATOMSCOPE_SECTION_COUNTERS].stride / 8 < region->sections[ATOMSCOPE_SECTION_METRICS].count ||
        region->sections[ATOMSCOPE_SECTION_HANDLED].stride / 8 <
            2 * region->sections[ATOMSCOPE_SECTION_VARIANTS].count + region->sections[ATOMSCOPE_SECTION_CLASSES].count)
        return ATOMSCOPE_CORRUPT;
    return ATOMSCOPE_OK;
}

/* The text of a text cell of `bytes` bytes. Returns its length, at most `room`; 0 without text. */
static inline size_t atomscope_text_cell(const struct atomscope_region *region, uint64_t offset, size_t bytes, char *text,
                                         size_t room)
{
    uint64_t ready = atomscope_load(region, offset), length = ready & ~ATOMSCOPE_READY;

    atomscope_fence();
    if (!(ready & ATOMSCOPE_READY) || bytes < 8 || length > bytes - 8)
        return 0;
    if (length > room)
        length = room;
    for (size_t at = 0; at < length; at++)
        text[at] = (char)(atomscope_load(region, offset + 8 + at) >> at % 8 * 8);
    return (size_t)length;
}

/* The text of a name number. Returns its length; 0 if it is not known. */
static inline size_t atomscope_name(const struct atomscope_region *region, uint64_t number, char *text, size_t room)
{
    uint64_t offset = number == 0 ? 0 : atomscope_record(region, ATOMSCOPE_SECTION_NAMES, number - 1);
    size_t stride = (size_t)region->sections[ATOMSCOPE_SECTION_NAMES].stride;
    return offset == 0 ? 0 : atomscope_text_cell(region, offset, stride, text, room);
}

/*
 * Reads a record that one owner rewrites behind a sequence word (a seqlock cell): `bytes` bytes after the word. Returns
 * whether the copy is whole. `sequence` may be NULL.
 */
static inline bool atomscope_read_cell(const struct atomscope_region *region, uint64_t offset, void *record, size_t bytes,
                                       uint64_t *sequence)
{
    for (int attempt = 0; attempt < ATOMSCOPE_TRIES; attempt++) {
        uint64_t before = atomscope_load(region, offset);
        atomscope_fence();
        if (before % 2 != 0)
            continue;
        atomscope_copy(region, offset + 8, record, bytes);
        atomscope_fence();
        if (atomscope_load(region, offset) == before) {
            if (sequence != NULL)
                *sequence = before;
            return true;
        }
    }
    return false;
}

/* Copies a record that begins with its ready word. False if it is not ready. */
static inline bool atomscope_read_ready(const struct atomscope_region *region, uint64_t offset, void *record, size_t bytes)
{
    uint64_t ready = atomscope_load(region, offset);

    atomscope_fence();
    atomscope_copy(region, offset, record, bytes);
    memcpy(record, &ready, 8);
    return (ready & ATOMSCOPE_READY) != 0;
}

/* How many slots of a section of actors or of instances to read. */
static inline uint64_t atomscope_slots(const struct atomscope_region *region, unsigned section)
{
    unsigned field = section == ATOMSCOPE_SECTION_ACTORS ? ATOMSCOPE_HEADER_ACTORS_USED : ATOMSCOPE_HEADER_INSTANCES_USED;
    uint64_t used = atomscope_load(region, field), count = region->sections[section].count;
    return used < count ? used : count;
}

/* Reads a slot of actors or of instances: READ, NONE or UNREADABLE. The control word is the record's first field. */
static inline enum atomscope_found atomscope_read_slot(const struct atomscope_region *region, uint64_t offset, void *record,
                                                       size_t bytes)
{
    for (int attempt = 0; attempt < ATOMSCOPE_TRIES; attempt++) {
        uint64_t control = atomscope_load(region, offset);
        atomscope_fence();
        if (control % 4 == ATOMSCOPE_SLOT_FREE || control % 4 == ATOMSCOPE_SLOT_ORPHAN)
            return ATOMSCOPE_NONE;
        if (control % 4 != ATOMSCOPE_SLOT_LIVE)
            continue;
        atomscope_copy(region, offset, record, bytes);
        atomscope_fence();
        if (atomscope_load(region, offset) == control)
            return ATOMSCOPE_READ;
    }
    return ATOMSCOPE_UNREADABLE;
}

/* A list that keeps the newest records. */
struct atomscope_ring {
    uint64_t offset, slots, stride;
};

/* The dead letters, the journal writes or the panics. */
static inline struct atomscope_ring atomscope_ring(const struct atomscope_region *region, unsigned section)
{
    const struct atomscope_section *of = &region->sections[section];
    struct atomscope_ring ring = {of->offset, of->count - 1, of->stride};
    return ring;
}

/* The events of a lane; ring.slots is 0 if there is no such lane. */
static inline struct atomscope_ring atomscope_event_ring(const struct atomscope_region *region, uint64_t lane)
{
    const struct atomscope_section *of = &region->sections[ATOMSCOPE_SECTION_EVENTS];
    struct atomscope_ring ring = {of->offset + lane * of->stride, 0, ATOMSCOPE_EVENT_SLOT_BYTES};
    if (lane < of->count)
        ring.slots = of->stride / ATOMSCOPE_EVENT_SLOT_BYTES - 1;
    return ring;
}

/* The number of tickets taken so far. Tickets below this number minus ring.slots are lapped. */
static inline uint64_t atomscope_ring_head(const struct atomscope_region *region, struct atomscope_ring ring)
{
    return atomscope_load(region, ring.offset);
}

/* Reads the record of a ticket. UNREADABLE: it is pending, and of a running node may be read later. */
static inline enum atomscope_found atomscope_read_ticket(const struct atomscope_region *region, struct atomscope_ring ring,
                                                         uint64_t ticket, void *record, size_t bytes)
{
    uint64_t slot, wanted = 2 * (ticket + 1);

    if (ring.slots == 0)
        return ATOMSCOPE_NONE;
    slot = ring.offset + (1 + ticket % ring.slots) * ring.stride;
    for (int attempt = 0; attempt < ATOMSCOPE_TRIES; attempt++) {
        uint64_t sequence = atomscope_load(region, slot);
        atomscope_fence();
        if (sequence > wanted)
            return ATOMSCOPE_LAPPED;
        if (sequence == wanted) {
            atomscope_copy(region, slot + ATOMSCOPE_RING_RECORD, record, bytes);
            atomscope_fence();
            return atomscope_load(region, slot) == sequence ? ATOMSCOPE_READ : ATOMSCOPE_LAPPED;
        }
        if (sequence != wanted - 1 && atomscope_load(region, slot + 8) > ticket)
            return ATOMSCOPE_ABANDONED;
    }
    return ATOMSCOPE_UNREADABLE;
}

/* The value of a counter: the sum of its words over all lanes. */
static inline uint64_t atomscope_counter(const struct atomscope_region *region, uint64_t metric)
{
    const struct atomscope_section *lanes = &region->sections[ATOMSCOPE_SECTION_COUNTERS];
    uint64_t sum = 0;

    if (metric >= lanes->stride / 8)
        return 0;
    for (uint64_t lane = 0; lane < lanes->count; lane++)
        sum += atomscope_load(region, lanes->offset + lane * lanes->stride + metric * 8);
    return sum;
}

/* The word of a gauge. Of a histogram: 1 + the number of its record. */
static inline uint64_t atomscope_gauge(const struct atomscope_region *region, uint64_t metric)
{
    const struct atomscope_section *lanes = &region->sections[ATOMSCOPE_SECTION_COUNTERS];
    return metric < lanes->stride / 8 ? atomscope_load(region, lanes->offset + metric * 8) : 0;
}

/* Copies the words of the histogram of a metric: number of values, their sum, the greatest, and from word 8 the buckets. */
static inline bool atomscope_histogram(const struct atomscope_region *region, uint64_t metric,
                                       uint64_t words[ATOMSCOPE_HISTOGRAM_WORDS])
{
    uint64_t number = atomscope_gauge(region, metric);
    uint64_t offset = number == 0 ? 0 : atomscope_record(region, ATOMSCOPE_SECTION_HISTOGRAMS, number - 1);

    if (offset == 0)
        return false;
    atomscope_copy(region, offset, words, ATOMSCOPE_HISTOGRAM_WORDS * 8);
    return true;
}

/* The least value that counts in a bucket. */
static inline uint64_t atomscope_bucket_least(unsigned bucket)
{
    return bucket < 4 ? bucket : (uint64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

/*
 * The time of a stamp, in nanoseconds since 1970 UTC. Call it after the record with the stamp was read. False if the time is
 * not known, or not yet.
 */
static inline bool atomscope_unix_ns(const struct atomscope_region *region, uint64_t stamp, int64_t *unix_ns)
{
    const struct atomscope_section *log = &region->sections[ATOMSCOPE_SECTION_CLOCK_SAMPLES];
    struct atomscope_clock_sample_record first, best, sample;
    bool has_first = false, has_best = false, is_whole = false;
    uint64_t complete = atomscope_load(region, log->offset + 16);

    memset(&first, 0, sizeof first);
    memset(&best, 0, sizeof best);
    atomscope_fence();
    for (int attempt = 0; attempt <= ATOMSCOPE_TRIES && !is_whole; attempt++) {
        uint64_t changes = atomscope_load(region, log->offset), used;
        atomscope_fence();
        /* The last try takes each sample that can be read. */
        if (changes % 2 != 0 && attempt < ATOMSCOPE_TRIES)
            continue;
        used = atomscope_load(region, log->offset + 8);
        has_first = has_best = false;
        for (uint64_t at = 1; at < log->count && at <= used; at++) {
            uint64_t cell = log->offset + at * log->stride, sequence = atomscope_load(region, cell);
            atomscope_fence();
            atomscope_copy(region, cell + 8, &sample, sizeof sample);
            atomscope_fence();
            if (sequence % 2 != 0 || atomscope_load(region, cell) != sequence || sample.rate == 0)
                continue;
            if (!has_first || sample.ticks < first.ticks) {
                first = sample;
                has_first = true;
            }
            if (sample.ticks <= stamp && (!has_best || sample.ticks > best.ticks)) {
                best = sample;
                has_best = true;
            }
        }
        atomscope_fence();
        is_whole = changes % 2 == 0 && atomscope_load(region, log->offset) == changes;
    }
    if (!has_first || (!is_whole && stamp > complete))
        return false;
    if (!has_best)
        best = first;
    {
        __extension__ typedef __int128 wide;
        /* The product of two words may need a bit more than `wide` has; no such stamp has a time. */
        wide elapsed = (wide)stamp - (wide)best.ticks, limit = (wide)1 << 126, time;
        wide size = elapsed < 0 ? -elapsed : elapsed;
        if (size > limit / (wide)best.rate)
            return false;
        size = size * (wide)best.rate >> 40;
        time = (elapsed < 0 ? -size : size) + best.unix_ns;
        if (time < INT64_MIN || time > INT64_MAX)
            return false;
        *unix_ns = (int64_t)time;
    }
    return true;
}

#endif
