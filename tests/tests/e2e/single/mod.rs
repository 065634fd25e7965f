//! One node and its clients.

mod accounts;
pub mod delivery;
pub mod login;
mod operation;
pub mod presence;
mod roster;
mod scram;
mod services;
mod streams;

use std::sync::Arc;

use crate::harness::{Cases, Cluster, Settings, case};

pub const DOMAIN: &str = "verona.example";
/// A second local domain, whose certificate is replaced while the others work.
pub const RENEWED: &str = "padua.example";

#[tokio::test(flavor = "multi_thread")]
async fn single_node() {
    let fixture = Arc::new(
        Cluster::start(Settings {
            name: "single",
            net: 1,
            nodes: 1,
            clustered: false,
            domains: vec![DOMAIN, RENEWED],
            extra: "[limits]\nsessions_per_user = 4\n".to_owned(),
        })
        .await,
    );
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(fixture, login::every_mechanism),
            case!(fixture, login::tls_server_end_point),
            case!(fixture, login::stripped_channel_binding_is_noticed),
            case!(fixture, login::wrong_password_and_unknown_user_look_alike),
            case!(fixture, login::an_unknown_user_keeps_its_salt),
            case!(fixture, login::too_many_tries),
            case!(fixture, login::nothing_but_starttls_before_tls),
            case!(fixture, login::direct_tls),
            case!(fixture, login::both_versions_of_tls),
            case!(fixture, login::certificate_is_valid_for_the_domain),
            case!(fixture, login::conflict_of_resources),
            case!(fixture, login::no_registration_in_band),
            case!(fixture, streams::unknown_domain),
            case!(fixture, streams::header_has_what_clients_need),
            case!(fixture, roster::items_and_pushes),
            case!(fixture, roster::versions),
            case!(fixture, roster::of_others_is_refused),
            case!(fixture, presence::subscription_both_ways),
            case!(fixture, presence::nobody_is_seen_without_a_subscription),
            case!(fixture, presence::request_waits_for_its_user),
            case!(fixture, presence::unsubscribing),
            case!(fixture, presence::goes_when_the_connection_breaks),
            case!(fixture, delivery::bare_and_full),
            case!(fixture, delivery::in_order),
            case!(fixture, delivery::unknown_user_is_unavailable),
            case!(fixture, delivery::offline_with_delay),
            case!(fixture, delivery::acks_begin_amid_stanzas),
            case!(fixture, delivery::priorities),
            case!(fixture, delivery::carbons),
            case!(fixture, delivery::blocking),
            case!(fixture, delivery::resumed_after_a_cut),
            case!(fixture, delivery::unacked_when_not_resumed_is_not_lost),
            case!(fixture, delivery::spoofed_from_is_refused),
            case!(fixture, services::disco),
            case!(fixture, services::ping_time_version),
            case!(fixture, services::last_activity),
            case!(fixture, services::unknown_requests_are_answered),
            case!(fixture, accounts::from_the_command_line),
            case!(fixture, operation::status),
            case!(fixture, operation::names_are_published),
        ])
        .await;
    cases
        .in_order(vec![
            case!(fixture, operation::certificates_are_replaced_without_a_drop),
            case!(fixture, operation::broken_reload_changes_nothing),
            case!(fixture, operation::drain_and_undrain),
            case!(fixture, operation::restart_keeps_accounts_and_rosters),
        ])
        .await;
    cases.check(fixture.faults());
    cases.finish(|| fixture.evidence());
}
