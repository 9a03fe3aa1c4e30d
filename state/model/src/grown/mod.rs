//! The former format of stored and sent values: what has grown since then.
//!
//! Such values are bincode, in which fields have no names, so a reader that expects one more field
//! would take the bytes of what follows. [`Reading`] tells the decoder how many fields there were, and
//! [`Worded`] the encoder to leave the new ones out as long as nothing is lost by it: so a program
//! reads what the one before wrote, and the one before reads all that says nothing new. That is enough
//! as long as structs grow at their end, by fields with a default, and enums at their end, too. Version
//! bytes are not its business: whoever has one writes it.
//!
//! The format is a value, so that each type is compiled once for all formats.

mod absent;
mod read;
mod write;

pub use read::Reading;
pub use write::Worded;

/// The name of the transparent newtype in which a text stands that the former format could not read.
pub(crate) const NEW_WORD: &str = "NewWord";

/// What a reader takes for a field that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// `false`, no value, an empty text, list or map.
    Nothing,
    /// This number.
    Number(u64),
    /// A struct with these in its fields.
    Struct(&'static [Absent]),
}

/// [`crate::update::UpdatePolicy`]'s default, field by field.
const POLICY: Absent = Absent::Struct(&[
    Absent::Number(1),
    Absent::Number(0),
    Absent::Number(5000),
    Absent::Nothing,
    Absent::Number(0),
    Absent::Nothing,
    Absent::Number(300_000),
    Absent::Nothing,
    Absent::Nothing,
]);

/// The fields of structs (or of enums' variants) that the former format did not have, each type's in
/// the order in which they stand, with their defaults.
const GREW: [(&str, &str, Absent); 27] = [
    ("Command", "if_revision", Absent::Nothing),
    ("Forward", "if_revision", Absent::Nothing),
    ("NewTask", "voluntary", Absent::Nothing),
    ("Op", "steered", Absent::Nothing),
    ("ProcessSpec", "Namespaces", Absent::Nothing),
    ("Record", "devices", Absent::Nothing),
    ("Resources", "Generic", Absent::Nothing),
    ("RestartRecord", "Displaced", Absent::Nothing),
    ("RestartRecord", "FailedUpdate", Absent::Nothing),
    ("Service", "Update", Absent::Nothing),
    ("Service", "Schedule", Absent::Nothing),
    ("ServiceSpec", "Priority", Absent::Number(50)),
    ("ServiceSpec", "UpdateConfig", POLICY),
    ("ServiceSpec", "RollbackConfig", POLICY),
    ("ServiceSpec", "MinAvailable", Absent::Nothing),
    ("ServiceSpec", "Job", Absent::Struct(&[Absent::Nothing, Absent::Number(10)])),
    ("ServiceSpec", "Schedule", Absent::Nothing),
    ("Stored", "histories", Absent::Nothing),
    ("Stored", "intent", Absent::Number(0)),
    ("Stored", "runs", Absent::Nothing),
    ("StoredTask", "eviction", Absent::Nothing),
    ("StoredTask", "update", Absent::Nothing),
    ("StoredTask", "ran_at", Absent::Nothing),
    ("TaskStatus", "Health", Absent::Nothing),
    ("TaskTemplate", "HealthCheck", Absent::Nothing),
    ("TaskTemplate", "ReadyCheck", Absent::Nothing),
    ("TaskTemplate", "DrainDelayMs", Absent::Number(0)),
];

/// The variants of enums that the former format did not have.
const JOINED: [(&str, &str); 22] = [
    ("Change", "Preempt"),
    ("Change", "Yield"),
    ("Change", "Update"),
    ("Change", "EndRun"),
    ("Change", "Fire"),
    ("Eviction", "Rebalanced"),
    ("Op", "RollbackService"),
    ("Op", "PauseUpdate"),
    ("Op", "Evict"),
    ("Op", "StartRun"),
    ("Op", "StopRun"),
    ("Op", "PromoteUpdate"),
    ("Rejection", "NoSuchVersion"),
    ("Rejection", "NoUpdate"),
    ("Rejection", "RevisionConflict"),
    ("Rejection", "NotAJob"),
    ("Rejection", "RunActive"),
    ("Rejection", "NoRun"),
    ("ServiceMode", "ReplicatedJob"),
    ("ServiceMode", "GlobalJob"),
    ("Slot", "Job"),
    ("Slot", "JobNode"),
];

/// How values are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Without what has grown.
    Former,
    /// As they are.
    Newest,
}

/// The fields that type `name` has in `format`.
fn fields_in(
    format: Format,
    name: &str,
    fields: &'static [&'static str],
) -> &'static [&'static str] {
    match format {
        Format::Former => {}
        Format::Newest => return fields,
    }
    let new = GREW.iter().filter(|(grown, ..)| *grown == name);
    let first = new.filter_map(|(_, new, _)| fields.iter().position(|field| field == new)).min();
    &fields[..first.unwrap_or(fields.len())]
}

/// What stands for field `key` of type `name` when it is not there; `None` if it always was.
fn default_of(name: &str, key: &str) -> Option<Absent> {
    let found = GREW.iter().find(|(grown, new, _)| *grown == name && *new == key);
    found.map(|(_, _, absent)| *absent)
}

fn is_new_variant(name: &str, variant: &str) -> bool {
    JOINED.contains(&(name, variant))
}
