//! The real binaries on small real files, through the front door: what a user types, and what comes
//! out. One module for each binary, and one for each promise that all of them make.

mod common;

mod bad_input;
mod baseline;
mod behaviour;
mod checkpoints;
mod cluster;
mod collection;
mod compressed;
mod damaged;
mod data;
mod datasets;
mod dev;
mod embed;
mod exchange;
mod help;
mod index;
mod interruptions;
mod jpq;
mod lexical;
mod linking;
mod losses;
mod mine_negatives;
mod miniature;
mod mining;
mod model_folders;
mod outputs;
mod pipeline;
mod pipes;
mod prompts;
mod properties;
mod quantization;
mod rank;
mod records;
mod remap_ids;
mod report;
mod score;
mod sql;
mod stores;
mod tokenize;
mod tower;
mod train;
mod warnings;
