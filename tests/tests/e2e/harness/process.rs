//! A process of ours: started with its output in a file, killed with this value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait::eventually;

pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let file = File::options().create(true).append(true).open(log).unwrap();
        keep_from_settings(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            log: log.to_path_buf(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success(), "kill -s {name} failed");
    }

    /// kill -9, and gone when this returns.
    pub fn kill(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The end of a process that was told to end.
    pub async fn end(&mut self, limit: Duration) -> std::process::ExitStatus {
        let what = format!("the end of process {}", self.id());
        eventually(&what, limit, || {
            let status = self.ended();
            async move { status }
        })
        .await
        .0
    }

    pub fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group was made for this process: its helpers go with it.
        let _gone = Command::new("kill")
            .args(["-s", "KILL", "--", &format!("-{}", self.id())])
            .stderr(Stdio::null())
            .status();
        self.kill();
    }
}

/// Takes from `command` what the tests' own variables (`ENTENTE_BIN`) would mean to a node, which
/// refuses variables with its prefix that it does not know. What was set for the command stays.
pub fn keep_from_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let set = command
            .get_envs()
            .any(|(known, value)| known == name && value.is_some());
        if name.to_string_lossy().starts_with("ENTENTE_") && !set {
            command.env_remove(name);
        }
    }
}

/// Whether `program` is installed. In CI it must be; elsewhere the reason for skipping is printed.
pub fn have(program: &str, package: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .chain(["/usr/sbin"])
        .any(|folder| Path::new(folder).join(program).is_file());
    found || missing(program, package)
}

/// The same for something that is no program.
pub fn have_file(path: &str, package: &str) -> bool {
    Path::new(path).exists() || missing(path, package)
}

fn missing(what: &str, package: &str) -> bool {
    let reason = format!("{what} is not installed (Debian package {package})");
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("SKIPPED: {reason}");
    false
}
