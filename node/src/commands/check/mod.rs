//! `entente check`: what federation needs, looked at from outside. DNS is asked as other organisations ask
//! it, ports are connected to, certificates are read as a peer reads them. A running node is not needed,
//! but without one its ports are closed and its name server is silent.

mod certificates;
mod names;
mod reach;

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

use serde::Serialize;

use super::{CommandError, say};
use crate::config::Config;
use crate::net::Resolver;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Weight {
    /// As it should be.
    Ok,
    /// Some peers will have difficulties, or soon all.
    Warning,
    /// Federation does not work.
    Fault,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    weight: Weight,
    /// What was looked at.
    about: String,
    what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Ok => "ok",
            Weight::Warning => "warning",
            Weight::Fault => "fault",
        };
        write!(out, "{weight:<8} {}: {}", self.about, self.what)?;
        match &self.cure {
            Some(cure) => write!(out, "; {cure}"),
            None => Ok(()),
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, about: impl Into<String>, what: impl Into<String>) {
        self.add(Weight::Ok, about.into(), what.into(), None);
    }

    fn warning(
        &mut self,
        about: impl Into<String>,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(
            Weight::Warning,
            about.into(),
            what.into(),
            Some(cure.into()),
        );
    }

    fn fault(
        &mut self,
        about: impl Into<String>,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(Weight::Fault, about.into(), what.into(), Some(cure.into()));
    }

    fn add(&mut self, weight: Weight, about: String, what: String, cure: Option<String>) {
        self.0.push(Finding {
            weight,
            about,
            what,
            cure,
        });
    }

    /// 0: all is well; 1: warnings; 2: faults.
    fn exit_code(&self) -> ExitCode {
        let worst = self.0.iter().map(|finding| finding.weight).max();
        ExitCode::from(worst.map_or(0, |weight| weight as u8))
    }
}

/// Looks at everything. `resolvers` are asked instead of those of the configuration or of the system.
pub(super) fn run(
    config: &Config,
    resolvers: &[SocketAddr],
    json: bool,
) -> Result<ExitCode, CommandError> {
    let resolvers = match resolvers {
        [] => &config.xmpp.resolver,
        named => named,
    };
    let outside = Resolver::new(resolvers).map_err(|error| {
        CommandError::Refused(format!(
            "the resolver: {error}; check /etc/resolv.conf, or name one with --resolver"
        ))
    })?;
    let mut report = Report::default();
    certificates::check(config, &mut report)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let targets = names::check(config, &outside, &mut report).await?;
            reach::own(config, &mut report).await;
            reach::published(&outside, targets, &mut report).await;
            reach::peers(config, &outside, &mut report).await;
            Ok::<_, CommandError>(())
        })?;
    if json {
        let text = serde_json::to_string_pretty(&report.0).unwrap_or_default();
        say(&text);
    } else {
        for finding in &report.0 {
            say(&finding.to_string());
        }
    }
    Ok(report.exit_code())
}
