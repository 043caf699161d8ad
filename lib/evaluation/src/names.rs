//! Names of runs in tables and records: the file's, as short as tells them apart.

use std::collections::HashMap;
use std::path::Component;

use hardmine_files::Input;

const ENDINGS: [&str; 9] = [".gz", ".zst", ".parquet", ".arrow", ".arrows", ".tsv", ".trec", ".txt", ".run"];

/// The name of each run: its file's without folder and endings. Files of the same name get as many of
/// their folders in front as tell them apart; in one folder they keep their endings; and where that
/// does not help, a number is put behind.
pub fn run_names(inputs: &[Input]) -> Vec<String> {
    let files: Vec<File> = inputs.iter().map(File::of).collect();
    let mut names: Vec<String> = files.iter().map(|file| file.stem.clone()).collect();
    let deepest = files.iter().map(|file| file.folders.len()).max().unwrap_or(0);
    for depth in 1..=deepest {
        lengthen(&mut names, |index| files[index].with_folders(depth));
    }
    lengthen(&mut names, |index| files[index].name.clone());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for name in &mut names {
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            *name += &format!(" ({times})");
        }
    }
    names
}

/// Replaces the names that occur more than once.
fn lengthen(names: &mut [String], longer: impl Fn(usize) -> String) {
    let before = names.to_vec();
    for (index, name) in names.iter_mut().enumerate() {
        if before.iter().filter(|other| *other == name).count() > 1 {
            *name = longer(index);
        }
    }
}

struct File {
    folders: Vec<String>,
    name: String,
    stem: String,
}

impl File {
    fn of(input: &Input) -> File {
        let Input::Path(path) = input else {
            return File { folders: vec![], name: "stdin".into(), stem: "stdin".into() };
        };
        let normal = path.components().filter(|part| matches!(part, Component::Normal(_)));
        let mut folders: Vec<String> = normal.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let name = folders.pop().unwrap_or_else(|| path.to_string_lossy().into_owned());
        let mut stem = name.as_str();
        while let Some(short) = ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)).filter(|s| !s.is_empty()) {
            stem = short;
        }
        File { folders, stem: stem.to_owned(), name }
    }

    fn with_folders(&self, depth: usize) -> String {
        let folders = &self.folders[self.folders.len().saturating_sub(depth)..];
        folders.iter().chain([&self.stem]).map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        run_names(&paths.iter().map(|path| OsString::from(path).into()).collect::<Vec<_>>())
    }

    #[test]
    fn a_run_has_the_name_of_its_file() {
        assert_eq!(names(&["out/star.dev.tsv.gz", "adore.parquet", "-"]), ["star.dev", "adore", "stdin"]);
        assert_eq!(names(&[".tsv"]), [".tsv"]);
    }

    #[test]
    fn equal_names_are_told_apart() {
        assert_eq!(names(&["a/star/dev.tsv", "a/adore/dev.parquet", "x.tsv"]), ["star/dev", "adore/dev", "x"]);
        assert_eq!(names(&["a/run.tsv", "a/run.trec"]), ["run.tsv", "run.trec"]);
        assert_eq!(names(&["dev.tsv", "./dev.tsv", "b/dev.tsv"]), ["dev.tsv", "dev.tsv (2)", "b/dev"]);
    }
}
