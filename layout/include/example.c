/*
 * Prints what a region or a raw dump holds: a reader in C.
 *
 *     cc -std=c11 -I layout/include layout/include/example.c -o example && ./example /dev/shm/atomscope-…
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "atomscope.h"

/* Prints a text of the application, without its control characters. */
static void print(const void *text, size_t length)
{
    const unsigned char *bytes = text;
    for (size_t at = 0; at < length; at++)
        putchar(bytes[at] < 0x20 || bytes[at] == 0x7f ? '?' : bytes[at]);
}

static void print_name(const struct atomscope_region *region, uint64_t number)
{
    char text[512];
    size_t length = atomscope_name(region, number, text, sizeof text);
    print(length > 0 ? text : "?", length > 0 ? length : 1);
}

static void print_cell(const char *label, const struct atomscope_region *region, uint64_t offset, size_t bytes)
{
    char text[512];
    printf("%s ", label);
    print(text, atomscope_text_cell(region, offset, bytes, text, sizeof text));
    putchar('\n');
}

static void print_actors(const struct atomscope_region *region)
{
    uint64_t slots = atomscope_slots(region, ATOMSCOPE_SECTION_ACTORS), unreadable = 0;

    for (uint64_t slot = 0; slot < slots; slot++) {
        struct atomscope_actor_record actor;
        uint64_t offset = atomscope_record(region, ATOMSCOPE_SECTION_ACTORS, slot);
        enum atomscope_found found = atomscope_read_slot(region, offset, &actor, sizeof actor);
        if (found == ATOMSCOPE_READ && (size_t)actor.path_bytes + actor.type_bytes <= sizeof actor.text) {
            int64_t spawned = 0;
            bool is_known = atomscope_unix_ns(region, actor.spawned, &spawned);
            printf("actor ");
            print(actor.text, actor.path_bytes);
            putchar(' ');
            if (actor.type_id != 0)
                print_name(region, actor.type_id);
            else
                print(actor.text + actor.path_bytes, actor.type_bytes);
            if (is_known)
                printf(" spawned %" PRId64, spawned);
            putchar('\n');
        } else if (found != ATOMSCOPE_NONE) {
            unreadable++;
        }
    }
    printf("unreadable %" PRIu64 "\n", unreadable);
}

/* A label is its key, a zero byte, its value and a zero byte. */
static void print_labels(const unsigned char *labels, size_t length)
{
    bool is_key = true;

    for (size_t at = 0; at < length; at++) {
        if (is_key && (at == 0 || labels[at - 1] == 0))
            putchar(' ');
        if (labels[at] != 0)
            print(&labels[at], 1);
        else if (is_key)
            putchar('=');
        is_key ^= labels[at] == 0;
    }
}

static void print_metrics(const struct atomscope_region *region)
{
    for (uint64_t number = 0; number < region->sections[ATOMSCOPE_SECTION_METRICS].count; number++) {
        struct atomscope_metric_record metric;
        uint64_t words[ATOMSCOPE_HISTOGRAM_WORDS], word = atomscope_gauge(region, number);
        uint64_t offset = atomscope_record(region, ATOMSCOPE_SECTION_METRICS, number);
        double fraction;

        if (!atomscope_read_ready(region, offset, &metric, sizeof metric) ||
            (size_t)metric.name_bytes + metric.label_bytes > sizeof metric.text)
            continue;
        printf("metric ");
        print(metric.text, metric.name_bytes);
        print_labels(metric.text + metric.name_bytes, metric.label_bytes);
        switch (metric.ready & 0xff) {
        case ATOMSCOPE_KIND_COUNTER:
            printf(" = %" PRIu64 "\n", atomscope_counter(region, number));
            break;
        case ATOMSCOPE_KIND_GAUGE:
            printf(" = %" PRIu64 "\n", word);
            break;
        case ATOMSCOPE_KIND_SIGNED_GAUGE:
            printf(" = %" PRId64 "\n", (int64_t)word);
            break;
        case ATOMSCOPE_KIND_FLOATING_GAUGE:
            memcpy(&fraction, &word, 8);
            printf(" = %.17g\n", fraction);
            break;
        case ATOMSCOPE_KIND_HISTOGRAM:
            if (atomscope_histogram(region, number, words))
                printf(" = %" PRIu64 " values, sum %" PRIu64 ", greatest %" PRIu64 "\n", words[0], words[1], words[2]);
            else
                printf(" unknown\n");
            break;
        default:
            printf(" unknown\n");
        }
    }
}

static void print_field(const struct atomscope_field_record *field, const unsigned char *payload)
{
    uint32_t offset = (uint32_t)field->ready, type = field->ready >> 32 & 0xff, size = field->ready >> 40 & 0xffff;
    const unsigned char *element = payload + offset;
    uint64_t number = 0;
    double real;
    float single;

    if (offset > 1024 || size > 1024 - offset) {
        printf("?");
        return;
    }
    if (type == ATOMSCOPE_TYPE_TEXT) {
        size_t length = 0;
        while (length < size && element[length] != 0)
            length++;
        print(element, length);
        return;
    }
    memcpy(&number, element, size < 8 ? size : 8);
    switch (type) {
    case ATOMSCOPE_TYPE_F32:
        memcpy(&single, element, sizeof single);
        printf("%g", single);
        break;
    case ATOMSCOPE_TYPE_F64:
        memcpy(&real, element, sizeof real);
        printf("%g", real);
        break;
    case ATOMSCOPE_TYPE_I8:
    case ATOMSCOPE_TYPE_I16:
    case ATOMSCOPE_TYPE_I32:
    case ATOMSCOPE_TYPE_I64:
        if (size < 8 && size > 0 && number >> (8 * size - 1) != 0)
            number |= UINT64_MAX << 8 * size;
        printf("%" PRId64, (int64_t)number);
        break;
    default:
        printf("%" PRIu64, number);
    }
}

/* The application's own records. Of an array only the first element is shown. */
static void print_records(const struct atomscope_region *region)
{
    for (uint64_t slot = 0; slot < region->sections[ATOMSCOPE_SECTION_OWN_RECORDS].count; slot++) {
        struct atomscope_own_record own;
        struct atomscope_kind_record kind;
        uint64_t offset = atomscope_record(region, ATOMSCOPE_SECTION_OWN_RECORDS, slot), fields;

        if (!atomscope_read_cell(region, offset, &own.stamp, sizeof own - 8, &own.sequence) || own.kind == 0)
            continue;
        offset = atomscope_record(region, ATOMSCOPE_SECTION_KINDS, own.kind - 1);
        if (offset == 0 || !atomscope_read_ready(region, offset, &kind, sizeof kind) || own.name_bytes > sizeof own.name ||
            kind.name_bytes > sizeof kind.text)
            continue;
        printf("record ");
        print(kind.text, kind.name_bytes);
        putchar('/');
        print(own.name, (size_t)own.name_bytes);
        fields = kind.ready >> 32 & 0x7fffffff;
        for (uint64_t at = 0; at < fields && at < 128 && own.sequence / 2 > own.first; at++) {
            struct atomscope_field_record field;
            offset = atomscope_record(region, ATOMSCOPE_SECTION_FIELDS, kind.first_field + at);
            if (offset == 0 || !atomscope_read_ready(region, offset, &field, sizeof field) ||
                field.name_bytes > sizeof field.text)
                continue;
            putchar(' ');
            print(field.text, field.name_bytes);
            putchar('=');
            print_field(&field, own.payload);
        }
        putchar('\n');
    }
}

int main(int count, char **arguments)
{
    static const char *const words[] = {"ok", "not ready yet", "no region", "incompatible", "truncated", "corrupt"};
    struct atomscope_region region;
    struct stat about;
    enum atomscope_result result;
    const void *memory;
    int file = count == 2 ? open(arguments[1], O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0 || fstat(file, &about) != 0 || about.st_size <= 0) {
        fprintf(stderr, "usage: example FILE\n");
        return 2;
    }
    memory = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        perror(arguments[1]);
        return 1;
    }
    result = atomscope_open(&region, memory, (uint64_t)about.st_size);
    if (result != ATOMSCOPE_OK) {
        fprintf(stderr, "%s: %s\n", arguments[1], words[result]);
        return 1;
    }
    print_cell("node", &region, ATOMSCOPE_HEADER_NODE, 256);
    print_cell("system", &region, ATOMSCOPE_HEADER_SYSTEM, 256);
    printf("pid %" PRIu64 "\n", region.header.pid);
    print_actors(&region);
    print_metrics(&region);
    print_records(&region);
    return 0;
}
