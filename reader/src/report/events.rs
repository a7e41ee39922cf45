//! Events and losses as words for people.

use atomscope_layout::dto::ClusterMembershipDiff;
use atomscope_layout::event::{Level, OwnEvent, TelemetryEvent};
use atomscope_layout::follow::Loss;

use super::human::count;
use super::records::value_text;
use super::tone::Tone;

/// A loss of events: how many, in which lane, and why.
pub fn loss_text(loss: &Loss) -> String {
    let Loss { lane, lapped, abandoned, unreadable, .. } = *loss;
    let causes =
        [(lapped, "overwritten"), (abandoned, "abandoned by their writers"), (unreadable, "unreadable")];
    let causes: Vec<_> =
        causes.iter().filter(|(n, _)| *n > 0).map(|(number, cause)| format!("{number} {cause}")).collect();
    format!("{} of lane {lane} lost: {}", count(loss.all(), "event", "events"), causes.join(", "))
}

/// An event as a word, the tone of that word, and the rest of the text. The word of an application's own event is its topic. Not
/// safe to print.
pub fn describe(event: &TelemetryEvent) -> (&str, Tone, String) {
    let plain = Tone::Plain;
    match event {
        TelemetryEvent::ActorSpawned(actor) => {
            let host = actor.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            ("spawned", Tone::Good, format!("{} {}{host}", actor.path, actor.actor_type))
        }
        TelemetryEvent::ActorStopped { path } => ("stopped", plain, path.clone()),
        TelemetryEvent::MailboxSampled { path, depth } => {
            ("mailbox", plain, format!("{path} {}", count(*depth, "message", "messages")))
        }
        TelemetryEvent::DeadLetter(letter) => {
            let from = letter.sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
            let preview = &letter.message_preview;
            let preview = if preview.is_empty() { String::new() } else { format!(": {preview}") };
            (
                "dead letter",
                Tone::Odd,
                format!("{} to {}{from}{preview}", letter.message_type, letter.recipient),
            )
        }
        TelemetryEvent::ClusterChanged(change) => ("cluster", Tone::Strong, describe_change(change)),
        TelemetryEvent::ShardingChanged(change) => {
            ("sharding", plain, format!("{} shard {}: {}", change.region_id, change.shard_id, change.event))
        }
        TelemetryEvent::JournalWrite(write) => {
            ("journal", plain, format!("{} {} #{}", write.journal, write.persistence_id, write.sequence_nr))
        }
        TelemetryEvent::RemoteAssociation(to) => {
            let (inbound, outbound) = (to.inbound_bytes, to.outbound_bytes);
            let text =
                format!("{} {}, {inbound} bytes in, {outbound} bytes out", to.remote_address, to.state);
            ("remote", plain, text)
        }
        TelemetryEvent::StreamsGraphStarted { id, name } => {
            ("stream", Tone::Good, format!("{id} started: {name}"))
        }
        TelemetryEvent::StreamsGraphFinished { id } => ("stream", plain, format!("{id} finished")),
        TelemetryEvent::DDataUpdated { key } => ("ddata", plain, format!("{key} updated")),
        TelemetryEvent::Panicked(panic) => {
            let message = panic.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            let thread = panic.thread.as_deref().unwrap_or("a thread");
            let actor = panic.actor.as_ref().map(|actor| format!(" in {actor}")).unwrap_or_default();
            ("panic", Tone::Bad, format!("{thread}{actor} at {}{message}", panic.location))
        }
        TelemetryEvent::Own(own) => {
            let tone = match own.level {
                Level::Error => Tone::Bad,
                Level::Warn => Tone::Odd,
                Level::Info | Level::Debug | Level::Trace => plain,
            };
            (&own.topic, tone, format!("{} {}", own.level.word(), describe_own(own)))
        }
        TelemetryEvent::LongPoll(poll) => {
            let thread = poll.thread.as_deref().unwrap_or("a thread");
            let task = match (&poll.actor, &poll.class, &poll.task) {
                (Some(actor), ..) => actor.clone(),
                (None, Some(class), _) => format!("an actor of {class}"),
                (None, None, Some(task)) => format!("a task that was spawned at {task}"),
                (None, None, None) => "a task".to_owned(),
            };
            let ms = poll.duration_ns / 1_000_000;
            ("long poll", Tone::Odd, format!("{task} held {thread} for {ms} ms"))
        }
    }
}

/// The text, or `Placed: id 7, price 1.25`.
fn describe_own(own: &OwnEvent) -> String {
    let Some(record) = &own.record else { return own.text.clone() };
    let values = own.values.0.iter().map(|(name, value)| format!("{name} {}", value_text(value)));
    format!("{record}: {}", values.collect::<Vec<_>>().join(", "))
}

fn describe_change(change: &ClusterMembershipDiff) -> String {
    let mut parts = Vec::new();
    for (word, members) in [("added", &change.added), ("updated", &change.updated)] {
        parts.extend(members.iter().map(|member| format!("{word} {} ({})", member.address, member.status)));
    }
    for (word, addresses) in [
        ("removed", &change.removed),
        ("unreachable", &change.became_unreachable),
        ("reachable again", &change.became_reachable),
    ] {
        parts.extend(addresses.iter().map(|address| format!("{word} {address}")));
    }
    if parts.is_empty() { "nothing changed".to_owned() } else { parts.join("; ") }
}
