//! The node's generation: a number that grows with every start, kept in a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The file in the data directory.
const FILE: &str = "generation";

/// Takes the next generation and keeps it, on disk before it returns.
///
/// It is one more than the last one, and not less than the seconds since 1970, so that it grows
/// even if either the clock was set back or the file was lost. Peers ignore a node that comes back
/// with an old generation for as long as they remember the newer one.
///
/// # Errors
/// The directory cannot be made, or the file cannot be written. A file that cannot be understood
/// counts as lost.
pub(super) fn next(data_dir: &Path, unix_seconds: u64) -> io::Result<u64> {
    fs::create_dir_all(data_dir)?;
    let path = data_dir.join(FILE);
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().unwrap_or_else(|_| {
            tracing::warn!(path = %path.display(), "the generation file holds no number; using the clock");
            0
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => 0,
        Err(error) => return Err(error),
    };
    let next = last.saturating_add(1).max(unix_seconds);
    // A whole new file, so that a crash in the middle leaves the old one.
    let draft = data_dir.join("generation.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{next}")?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    // The rename itself is durable only with the directory.
    File::open(data_dir)?.sync_all()?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh_dir(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("entente-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn it_grows_with_every_start_also_when_the_clock_goes_back() {
        let dir = fresh_dir("generation-grows");
        assert_eq!(next(&dir, 1_000).unwrap(), 1_000);
        assert_eq!(next(&dir, 1_000).unwrap(), 1_001);
        assert_eq!(next(&dir, 10).unwrap(), 1_002);
        assert_eq!(next(&dir, 5_000).unwrap(), 5_000);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_spoilt_file_counts_as_lost() {
        let dir = fresh_dir("generation-spoilt");
        fs::create_dir_all(&dir).unwrap();
        for spoilt in [
            &b"abc"[..],
            b"",
            b"-5",
            b"99999999999999999999999",
            b"\xff\xfe",
        ] {
            fs::write(dir.join(FILE), spoilt).unwrap();
            assert_eq!(next(&dir, 7).unwrap(), 7, "{spoilt:?}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        assert!(next(Path::new("/dev/null/entente"), 1).is_err());
    }
}
