//! Readers of the small languages on a command line. Pure: text in, value or reason out.

pub(crate) mod address;
pub(crate) mod config_mount;
pub(crate) mod duration;
pub(crate) mod generic;
pub(crate) mod key_value;
pub(crate) mod moment;
pub(crate) mod quantity;
pub(crate) mod words;
