//! Object stores: files and folders that URLs name, such as `s3://bucket/docs.arrow`, fetched into a folder of this
//! machine and sent from it.
//!
//! Programs work on files. What a URL names is fetched when a program begins, and what it made is sent when it is whole,
//! so that no program knows of stores, and every one can be used with them. Of a dataset, whose shards may be fetched
//! one by one by those who work on them, the manifest alone can be fetched.

mod connection;
mod copies;
mod location;

pub use connection::connect;
pub use copies::{Copies, Fetch, copies, copies_of_this_process, origin};
pub use location::{Location, is_url};
