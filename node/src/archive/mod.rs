//! Files of one directory as a tar stream, both ways, and never of anything outside of it: `swarm cp`.
//!
//! Every path is resolved by the kernel below the directory (`openat2`), so no link, however it changes
//! meanwhile, leads out. What is refused is named, and nothing after it is read or written.

mod error;
mod input;
mod left_out;
mod link;
mod pack;
mod part;
mod place;
#[cfg(test)]
mod tests;
mod unpack;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use error::ArchiveError;
pub use left_out::LeftOut;
pub use pack::{pack, pack_as};
pub use place::enter;
pub use unpack::{Naming, unpack};

/// What is to be copied. Paths lie below a directory, `/` is the directory itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", rename_all_fields = "PascalCase")]
pub enum Transfer {
    /// What is there, as a tar stream.
    Pack {
        /// A file or a directory.
        path: String,
    },
    /// A tar stream, to be written there.
    Unpack {
        /// A directory, or the new name of what comes.
        path: String,
        /// Which of both.
        naming: Naming,
    },
}
