//! What a revision is: the part of the spec that makes it, its name, its record, and how two of them differ. Pure.

mod canonical;
mod changes;
mod hash;
mod identity;
mod record;
mod snapshot;

pub use canonical::canonical_json;
pub use changes::{changes, differences};
pub use hash::{HASH_VERSION, RevisionDigest, short_digest};
pub use identity::{ContainerPort, RevisionInput};
pub use record::{
    Adopted, PreDeployed, Record, RecordData, RecordError, RecordNotes, RecordedSnapshot, VerdictNote,
};
pub use snapshot::{Presence, SnapshotContent, SnapshotSource, SourceKind, secret_data, sources};
