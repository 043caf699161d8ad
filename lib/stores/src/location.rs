//! URLs of files and folders in object stores.

use std::fmt;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use object_store::path::Path as Key;

/// The stores whose URLs are known, each with how credentials are given.
const SCHEMES: [(&str, &str); 2] = [
    (
        "s3",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's",
    ),
    ("gs", "GOOGLE_APPLICATION_CREDENTIALS names the file of a service account"),
];

/// A file or folder in an object store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    scheme: &'static str,
    bucket: String,
    key: Key,
}

/// Whether a text is the URL of something in an object store.
pub fn is_url(text: &str) -> bool {
    SCHEMES.iter().any(|(scheme, _)| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")))
}

impl Location {
    /// What the URL `text` names. A slash at its end is left out.
    ///
    /// # Errors
    /// The text is no URL of a known store, or names no bucket.
    pub fn parse(text: &str) -> Result<Location> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let known = SCHEMES.iter().find(|(known, _)| *known == scheme);
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let Some((scheme, _)) = known.filter(|_| !bucket.is_empty()) else {
            return Err(Error::new(text, "is no URL of a file or folder").hint("s3://BUCKET/PATH or gs://BUCKET/PATH"));
        };
        let key = Key::parse(key.trim_end_matches('/')).map_err(Error::at(text))?;
        Ok(Location { scheme, bucket: bucket.to_owned(), key })
    }

    /// What of `root` is the copy of something in a store, as [`Location::below`] names it.
    pub fn of_copy(root: &Path, path: &Path) -> Option<Location> {
        let copied = path.strip_prefix(root).ok()?.to_str()?;
        let (scheme, rest) = copied.split_once('/')?;
        Location::parse(&format!("{scheme}://{rest}")).ok()
    }

    /// Where a copy of it lies below the folder `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(self.scheme).join(&self.bucket).join(self.key.as_ref())
    }

    /// What is called `name` in this folder.
    pub fn join(&self, name: &str) -> Location {
        let key = format!("{}/{name}", self.key);
        Location { key: Key::parse(&key).unwrap_or_else(|_| Key::from(key)), ..self.clone() }
    }

    /// The store's kind: s3 or gs.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The bucket.
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The name within the bucket.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// How credentials for the store are given.
    pub(crate) fn credentials(&self) -> &'static str {
        SCHEMES.iter().find(|(scheme, _)| *scheme == self.scheme).map_or("", |(_, credentials)| credentials)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme, self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_and_its_copy_name_each_other() {
        let root = Path::new("/tmp/copies");
        for text in ["s3://bucket/a/docs.arrow", "gs://b/with blank/x"] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.to_string(), text);
            assert_eq!(Location::of_copy(root, &location.below(root)), Some(location));
        }
        let folder = Location::parse("s3://bucket/vectors/").unwrap();
        assert_eq!(folder.to_string(), "s3://bucket/vectors");
        assert_eq!(folder.join("manifest.json").to_string(), "s3://bucket/vectors/manifest.json");
        assert_eq!(Location::of_copy(root, Path::new("/tmp/other/s3/b/x")), None);
    }

    #[test]
    fn what_is_no_url_of_a_store_is_told_apart() {
        for text in ["docs.arrow", "s3:/bucket", "https://host/x", "s3", "df://host:1", ""] {
            assert!(!is_url(text), "{text}");
            assert!(Location::parse(text).is_err(), "{text}");
        }
        assert!(is_url("s3:///docs") && Location::parse("s3:///docs").is_err());
        assert!(Location::parse("s3://bucket/a/../b").is_err());
    }
}
