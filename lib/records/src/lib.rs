//! Schemas, reading and writing, id spaces, provenance, and how a command behaves.
