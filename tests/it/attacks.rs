//! The catalogue of attacks, as data: every case of `tests/attacks.jsonl` against a real host.
//!
//! For each case: the reason that the agent (or the plugin) is given, what reached the upstream, the
//! look-ups and connections that were made, exactly one record with that reason, and a journal that
//! verifies. A row without cases is claimed by a test of its own, or says what it waits for.

mod call;
mod case;
mod craft;
mod load;
mod report;
mod run;

use std::collections::BTreeMap;

use case::{Row, rows};

pub(crate) use report::stands_for;

/// The tests that stand for a row that is more of a story than a list. A test that is gone does not compile.
macro_rules! claims {
    ($($test:path),* $(,)?) => {
        const CLAIMS: &[(&str, fn())] = &[$((stringify!($test), $test as fn())),*];
    };
}

claims![
    crate::leases::killed::fifty_restarts_under_load_lose_no_lease_approval_or_revocation,
    crate::crash::kill_9_at_any_point_loses_nothing_and_repeats_nothing,
    crate::approvals::every::whatever_happens_leaves_exactly_one_record_that_names_what_it_is_about,
    crate::approvals::killed::what_was_asked_and_approved_is_there_after_kill_9_and_runs_once,
    crate::approvals::requests::a_request_waits_only_as_long_as_it_may_and_dies_with_its_host,
    crate::approvals::ends::a_revocation_at_the_same_time_as_a_yes_wins,
    crate::approvals::ends::an_approval_expires_and_a_clock_set_back_revives_nothing,
    crate::approvals::answers::an_approval_is_worth_nothing_for_answers_that_nobody_saw,
    crate::approvals::an_approval_is_worth_nothing_elsewhere,
    crate::approvals::an_approval_is_worth_nothing_for_anything_else,
    crate::approvals::asks_are_capped,
    crate::approvals::nobody_but_who_may_approve_answers_and_a_no_is_an_answer,
    crate::approvals::what_a_person_reads_is_the_hosts_and_whole,
    crate::binary::a_second_process_on_the_log_is_refused_and_changes_nothing,
    crate::binary::a_proxy_that_the_environment_names_is_never_dialled,
    crate::evidence::a_fork_is_told_apart_by_a_witness_and_by_a_second_path,
    crate::evidence::rewritten::a_cut_tail_shows_against_what_is_kept_elsewhere_and_is_told_of_without,
    crate::evidence::rewritten::a_stolen_key_rewrites_nothing_of_older_segments_nor_what_is_anchored,
    crate::fairness::a_thousand_calls_of_one_agent_leave_places_for_others,
    crate::leases::a_kept_value_is_read_and_typed_as_one_that_stays,
    crate::leases::j09_a_lease_appears_upstream_and_is_dead_after_the_call,
    crate::leases::j10_what_can_not_be_taken_back_is_pending_visible_retried_and_done,
    crate::leases::j12_a_lease_is_worth_nothing_once_policy_says_no,
    crate::formats::a_home_of_before_is_served_on_and_one_of_later_is_left_as_it_is,
    crate::handoff::a_chain_is_short_and_has_no_loop,
    crate::handoff::a_hand_off_is_worth_nothing_in_other_hands,
    crate::limits::a_retry_is_counted_and_a_storm_of_them_is_stopped,
    crate::limits::an_instance_that_was_cut_short_is_never_seen_again,
    crate::limits::traps_in_a_row_open_the_breaker_and_others_go_on,
    crate::oauth::a_personal_token_is_never_an_agents_identity,
    crate::oauth::a_session_is_of_one_agent_and_one_person,
    crate::oauth::a_token_without_trust_gets_a_challenge_that_says_where_to_get_one,
    crate::oauth::it_is_no_authorization_server,
    crate::oauth::tricks_with_tokens_are_refused,
    crate::oauth::two_issuers_with_one_key_are_not_both_believed,
    crate::people::a_client_that_opens_pages_is_asked_to_and_that_approves_nothing,
    crate::plugins::compiled_code_that_was_changed_is_compiled_again,
    crate::policies::a_preview_does_nothing_of_what_it_shows,
    crate::policies::a_reload_is_swapped_whole_and_a_broken_one_changes_nothing,
    crate::proof::a_changed_byte_is_named_by_file_and_line,
    crate::proof::a_clock_that_is_set_back_is_told_and_orders_nothing,
    crate::proof::a_forged_line_must_be_a_record_in_its_one_form,
    crate::proof::a_host_that_dies_at_any_point_of_a_rotation_leaves_a_whole_log,
    crate::proof::a_journal_that_can_not_be_written_refuses_everything,
    crate::proof::a_line_removed_added_or_moved_is_named,
    crate::proof::a_log_made_to_exhaust_its_reader_ends_at_its_first_bad_line,
    crate::proof::a_segment_or_all_that_is_gone_shows,
    crate::proof::a_torn_end_is_cut_and_that_is_written_down,
    crate::proof::the_first_failed_sync_is_the_last,
    crate::revoke::a_revoked_agents_running_call_dies,
    crate::revoke::a_revoked_task_takes_its_calls_and_the_tasks_within_it,
    crate::protocol::bounds::a_flood_of_requests_that_wait_is_cut_off_and_harms_nobody,
    crate::protocol::bounds::a_socket_in_use_is_not_taken_over,
    crate::protocol::bounds::a_stream_ends_with_its_credential,
    crate::protocol::gate::a_rebound_name_is_refused_before_the_body_is_read,
    crate::protocol::gate::a_page_of_another_origin_is_refused,
    crate::protocol::messages::what_the_head_says_and_what_the_body_says_must_be_one,
    crate::protocol::sessions::an_id_of_a_session_is_no_proof_of_anything,
    crate::protocol::messages::what_is_no_message_is_told_so_and_does_nothing,
    crate::protocol::versions::an_older_revision_skips_no_check,
    crate::protocol::lists::a_list_tells_of_nothing_that_is_not_in_it,
    crate::protocol::words::what_is_written_for_a_client_is_words,
    crate::secrets::no_connection_is_used_twice,
    crate::pins::a_file_that_is_swapped_while_it_is_read_is_the_one_or_the_other,
    crate::pins::an_archive_is_no_plugin_and_is_never_opened,
    crate::secrets::a_lent_value_in_a_question_is_asked_of_nobody,
    crate::secrets::a_loop_of_guesses_learns_nothing_and_is_stopped,
    crate::secrets::a_secret_that_a_plugin_may_read_leaves_by_no_door,
    crate::secrets::the_token_of_a_client_goes_nowhere,
    crate::records::a_record_is_one_line_whatever_the_text_from_outside,
    crate::records::arguments_that_are_large_are_a_digest_and_a_view_that_says_it_is_cut,
    crate::slice::the_plugin_gets_exactly_the_text_whose_digest_is_recorded,
    crate::tasks::a_clock_that_is_set_back_revives_nothing,
    crate::tasks::standing_rights_are_listed,
    crate::tasks::what_a_task_has_seen_decides_what_it_may_send,
    crate::steps::a_step_is_not_for_a_later_round,
    crate::steps::a_step_token_gives_one_step_once,
    crate::steps::a_token_that_is_a_program_is_refused,
    crate::steps::a_token_whose_blocks_were_changed_is_refused,
    crate::steps::no_allowed_step_is_refused_for_lack_of_time,
    crate::steps::what_a_step_is_bound_to_can_not_be_changed,
    crate::verifier::signatures_are_not_taken_one_for_another,
    crate::verifier::two_verifiers_that_share_no_code_agree_on_thousands_of_logs,
];

/// Parts of the catalogue whose rows must all run.
const BUILT: &[char] = &['S', 'R', 'C', 'I', 'X', 'P', 'A', 'J', 'L', 'D', 'M'];

/// Whether a test says that it stands for a row. By its source: that it is run shows elsewhere.
fn says_so(test: &str, row: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else {
        return false;
    };
    let module = format!("tests/it/{}", module.replace("::", "/"));
    let files = [format!("{module}.rs"), format!("{module}/mod.rs")];
    let text: String = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(crate::harness::repository().join(file)).ok())
        .collect();
    let Some((_, rest)) = text.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let body = rest.split("\n}\n").next().unwrap_or_default();
    body.contains(&format!("stands_for(\"{row}\")"))
}

#[test]
fn every_row_runs_or_says_what_it_waits_for() {
    let rows = rows();
    assert_eq!(rows.len(), 174, "no row is ever taken out");
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<char, (usize, usize)> = BTreeMap::new();
    for row in &rows {
        let Row {
            id,
            waits_for,
            because,
            cases,
            claimed_by,
            ..
        } = row;
        let runs = !cases.is_empty() || claimed_by.is_some();
        let count = counts.entry(row.part()).or_default();
        if runs {
            count.0 += 1;
        } else {
            count.1 += 1;
        }
        if let Some(test) = claimed_by
            && !CLAIMS
                .iter()
                .any(|(name, _)| name.strip_prefix("crate::") == Some(test))
        {
            wrong.push(format!(
                "{id} is claimed by `{test}`, which is no test of this suite"
            ));
        }
        if let Some(test) = claimed_by
            && !says_so(test, id)
        {
            wrong.push(format!(
                "{id} is claimed by `{test}`, which leaves no result for it: `stands_for(\"{id}\")` is not in it"
            ));
        }
        match (runs, waits_for.as_deref()) {
            (true, None) | (false, Some("proof" | "mcp")) => {}
            (true, Some(part)) => wrong.push(format!("{id} runs and waits for {part}")),
            (false, other) => wrong.push(format!("{id} does not run, and waits for {other:?}")),
        }
        if BUILT.contains(&row.part()) && !runs && because.is_none() {
            wrong.push(format!(
                "{id} belongs to a part that is built: it runs, or says why not"
            ));
        }
    }
    for (test, _) in CLAIMS {
        let claimed = rows
            .iter()
            .any(|row| row.claimed_by.as_deref() == test.strip_prefix("crate::"));
        if !claimed {
            wrong.push(format!("`{test}` claims no row"));
        }
    }
    for (part, (run, wait)) in &counts {
        eprintln!("attacks, part {part}: {run} rows run, {wait} wait");
    }
    let cases: usize = rows.iter().map(|row| row.cases.len()).sum();
    let (run, wait) = counts
        .values()
        .fold((0, 0), |sum, (run, wait)| (sum.0 + run, sum.1 + wait));
    eprintln!(
        "attacks: {run} rows run ({cases} cases), {wait} wait for parts that are not built yet"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_must_not_be_sent() {
    run::part('S').await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_that_must_not_be_used_up() {
    run::part('R').await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_that_must_be_read_in_one_way() {
    run::part('C').await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_must_not_be_believed() {
    run::part('I').await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_must_not_get_out() {
    run::part('X').await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_must_not_be_taken_for_others() {
    run::part('P').await;
}
