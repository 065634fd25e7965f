//! Whom the engine's connections trust.
//!
//! The engine verifies the certificates of other members against the platform's roots and has no
//! setting for a CA of its own; the alternative it offers is no verification at all, which would
//! hand the cluster's secret to anybody in the path. The platform's roots are what the environment
//! variable `SSL_CERT_FILE` names, so a clustered process must run with it set to the cluster's CA
//! alone. The variable can't be set safely from inside a running process, hence the new start.
//! Other connections of this program must bring their own roots.

use std::env;
use std::path::Path;

use crate::error::StoreError;

const FILE: &str = "SSL_CERT_FILE";
const DIRECTORY: &str = "SSL_CERT_DIR";

/// Makes sure that this process trusts the cluster's CA and nothing else: returns at once if it
/// does, otherwise replaces the process by itself with the right environment (same id, same
/// arguments). Call it first thing in `main`, before any thread or file.
///
/// # Errors
/// [`StoreError::Io`] if the program could not be started again.
#[cfg(unix)]
pub fn ensure(ca: &Path) -> Result<(), StoreError> {
    use std::os::unix::process::CommandExt;

    if check(ca).is_ok() {
        return Ok(());
    }
    let program =
        env::current_exe().map_err(crate::identity::io_error(Path::new("/proc/self/exe")))?;
    let source = std::process::Command::new(&program)
        .args(env::args_os().skip(1))
        .env(FILE, ca)
        .env_remove(DIRECTORY)
        .exec();
    Err(StoreError::Io {
        path: program,
        source,
    })
}

/// Whether the process runs with the cluster's CA as its only root.
pub(crate) fn check(ca: &Path) -> Result<(), StoreError> {
    if env::var_os(FILE).is_some_and(|file| Path::new(&file) == ca)
        && env::var_os(DIRECTORY).is_none()
    {
        Ok(())
    } else {
        Err(StoreError::TrustRoots {
            expected: ca.to_owned(),
        })
    }
}
