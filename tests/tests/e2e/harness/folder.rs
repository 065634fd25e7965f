//! A folder for one test's processes.

use std::path::{Path, PathBuf};

/// Removed at the end unless the test fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("entente-e2e-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("E2E_KEEP").is_some() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _busy = std::fs::remove_dir_all(&self.0);
        }
    }
}
