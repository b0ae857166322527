//! `tollgate policy`: a first policy, why a call is decided as it is, the schema, the cases. All of
//! it offline: it shows what the files say, whatever a daemon has in force.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use serde_json::json;

use super::args::{Explain, Policy};
use super::call::arguments;
use super::exit::Exit;
use super::fault::Fault;
use super::finding::{Finding, Level, in_home, number, shown};
use super::hostcall;
use super::offline::{self, Loader};
use super::printer::{BAD, GOOD, Printer, WAIT, escape_lines};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Tier};
use crate::handoff;
use crate::home::Home;
use crate::journal::escape;
use crate::json::Arguments;
use crate::name::PluginName;
use crate::plugin::{Catalogue, Plugin};
use crate::policy::{
    self, ApproveQuestion, CallFacts, CallQuestion, CaseResult, Explanation, Loaded, PolicySet,
    Severity, TaskFacts,
};

pub(crate) async fn run(
    command: Policy,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let config = Config::load(home).map_err(|error| Fault::of(&error).exit(Exit::Invalid))?;
    match command {
        Policy::Init { plugin, write } => init(home, &config, &plugin, write, printer).await,
        Policy::Explain(explain) => self::explain(home, &config, explain, printer).await,
        Policy::Schema => schema(home, &config, printer).await,
        Policy::Test => test(home, &config, printer).await,
    }
}

async fn init(
    home: &Home,
    config: &Config,
    name: &PluginName,
    write: bool,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let path = home.plugins().join(format!("{name}.wasm"));
    if !path.exists() {
        return Err(Fault::invalid(format!(
            "there is no plugin `{name}`: no `{}`",
            shown(&path)
        ))
        .hint("`tollgate plugins` lists those that there are"));
    }
    let loader = Loader::new(home)?;
    let plugin = loader.load(config, name, &path).await.map_err(|refusal| {
        Fault::invalid(format!(
            "`{}` can't serve: {}: {}",
            shown(&path),
            refusal.reason,
            refusal.message
        ))
        .hint(format!("`tollgate plugins inspect {name}` tells more"))
    })?;
    let text = policy::starter(&plugin.description, &plugin.ceiling.origins());
    if !write {
        if printer.is_json() {
            printer.object("policy", &json!({"plugin": name, "text": text}))?;
        } else {
            printer.raw(text.as_bytes())?;
        }
        return Ok(Exit::Ok);
    }
    let file = home.policies().join(format!("{name}.cedar"));
    std::fs::create_dir_all(home.policies())?;
    // Made, never replaced: what an operator wrote is not this command's to change.
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file);
    let mut made = made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Fault::new(
            Exit::Conflict,
            format!("`{}` is there already, and is left as it is", shown(&file)),
        )
        .hint(format!(
            "compare it with what `tollgate policy init {name}` prints"
        )),
        _ => Fault::of(&error).context(&format!("can't write `{}`", shown(&file))),
    })?;
    made.write_all(text.as_bytes())?;
    if printer.is_json() {
        printer.object("written", &json!({"plugin": name, "file": shown(&file)}))?;
    }
    printer.say(&format!("wrote `{}`", shown(&file)));
    printer.hint("review it; a daemon that runs takes it in at once, and `tollgate check` says whether it holds");
    Ok(Exit::Ok)
}

/// The plugins and policies of the home; fails where a policy is not in force.
async fn load(
    home: &Home,
    config: &Config,
    printer: &mut Printer,
) -> Result<(Catalogue, Loaded), Fault> {
    let plugins = Loader::new(home)?.load_all(home, config, printer).await?;
    let catalogue = offline::catalogue(&plugins);
    let loaded = crate::host::load_policies(&home.policies(), &catalogue, config, None);
    Ok((catalogue, loaded))
}

/// Says what is not in force, so that no answer below is mistaken for another policy's.
fn warn(loaded: &Loaded, printer: &mut Printer) {
    for found in loaded
        .findings
        .iter()
        .filter(|found| found.severity == Severity::Error)
    {
        printer.warn(&format!("not in force: {}", escape(&found.to_string())));
    }
}

async fn explain(
    home: &Home,
    config: &Config,
    explain: Explain,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    handoff::check(&explain.chain, &explain.agent)
        .map_err(|refusal| Fault::invalid(format!("{}: {}", refusal.reason, refusal.message)))?;
    let (catalogue, loaded) = load(home, config, printer).await?;
    warn(&loaded, printer);
    let (plugin, tool) = catalogue.find(&explain.tool).ok_or_else(|| {
        Fault::invalid(format!("there is no tool `{}`", explain.tool)).hint(
            "`tollgate plugins` lists the tools; `tollgate check` says which plugins can't serve",
        )
    })?;
    let text = arguments(explain.arguments.clone())?;
    let limits = config.limits(&tool).arguments;
    let arguments = match text.as_str() {
        "" => Arguments::empty(),
        text => Arguments::parse(text.as_bytes(), &limits).map_err(|refusal| {
            Fault::invalid(format!(
                "the arguments: {}: {}",
                refusal.reason, refusal.message
            ))
        })?,
    };
    if let Some((_, schemas)) = plugin.tool(&tool)
        && let Some(fault) = schemas.input.fault(arguments.value())
    {
        return Err(Fault::invalid(format!(
            "the arguments do not conform to the tool's schema: {fault}"
        ))
        .hint(format!(
            "`tollgate plugins inspect {}` shows it",
            plugin.name
        )));
    }
    let tier = crate::host::tier(config, &plugin.description, &tool);
    let tier_name = crate::host::tier_name(config, &plugin.description, &tool);
    let task = explain.task.as_ref().map(|intent| TaskFacts {
        id: "task_aaaaaaaaaaaaaaaa".to_owned(),
        intent: intent.clone(),
        labels: explain.labels.iter().cloned().collect(),
        calls: 1,
        host_calls: 0,
    });
    let call = CallFacts {
        agent: &explain.agent,
        chain: &explain.chain,
        user: None,
        tool: &tool,
        tier: &tier_name,
        arguments: &arguments,
        round: None,
        task: task.as_ref(),
        time: SystemClock.now(),
        approval: None,
    };
    let question = CallQuestion {
        call,
        plugin_digest: plugin.digest,
        transport: "cli",
        attempt: 1,
    };
    let answer = loaded.set.explain_call(&question, explain.approved);
    let mut exit = told(&answer, printer)?;
    exit = tiered(tier, explain.approved, exit, printer);
    if let Some(person) = &explain.approver {
        let question = ApproveQuestion {
            person,
            call,
            approvers: &BTreeSet::new(),
            host_call: false,
            standing: false,
        };
        if told(&loaded.set.explain_approve(&question), printer)? != Exit::Ok {
            exit = Exit::Denied;
        }
    }
    for text in &explain.host_calls {
        let asked = hostcall::parse(text, &plugin, &tool)?;
        let answer = loaded
            .set
            .explain_host_call(&call, &asked, explain.approved);
        // The call's own answer is the exit code, unless a host call is worse off.
        if told(&answer, printer)? != Exit::Ok {
            exit = Exit::Denied;
        }
    }
    hint(&plugin, home, printer);
    Ok(exit)
}

/// Shows one answer; the exit says whether it is an allow.
fn told(answer: &Explanation, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("explanation", answer)?;
    } else {
        let text = escape_lines(&answer.to_string());
        let style = match answer.decision {
            "allow" => GOOD,
            "hold" => WAIT,
            _ => BAD,
        };
        let painted = text
            .strip_prefix(answer.decision)
            .map(|rest| format!("{}{rest}", printer.paint(style, answer.decision)));
        printer.raw(painted.unwrap_or(text).as_bytes())?;
    }
    Ok(if answer.decision == "allow" {
        Exit::Ok
    } else {
        Exit::Denied
    })
}

/// What the operator's tier adds to what policy says.
fn tiered(tier: Tier, approved: bool, exit: Exit, printer: &mut Printer) -> Exit {
    match tier {
        Tier::Forbid => {
            printer.warn("the tool's tier is `forbid`: it is refused whatever policy says");
            Exit::Denied
        }
        Tier::Hold if !approved && exit == Exit::Ok => {
            printer.warn("the tool's tier is `hold`: a person must agree, whatever policy says");
            Exit::Denied
        }
        _ => exit,
    }
}

fn hint(plugin: &Plugin, home: &Home, printer: &mut Printer) {
    let file = home.policies().join(format!("{}.cedar", plugin.name));
    if !file.exists() {
        printer.hint(&format!(
            "`{}` has no policy of its own: `tollgate policy init {} --write` makes a first one",
            plugin.name, plugin.name
        ));
    }
}

async fn schema(home: &Home, config: &Config, printer: &mut Printer) -> Result<Exit, Fault> {
    let (_, loaded) = load(home, config, printer).await?;
    let text = loaded
        .set
        .schema_text()
        .map_err(|error| Fault::new(Exit::Failed, error))?;
    if printer.is_json() {
        printer.object("schema", &json!({"cedar": text}))?;
    } else {
        printer.raw(text.as_bytes())?;
        if !text.ends_with('\n') {
            printer.line("")?;
        }
    }
    Ok(Exit::Ok)
}

async fn test(home: &Home, config: &Config, printer: &mut Printer) -> Result<Exit, Fault> {
    let (_, loaded) = load(home, config, printer).await?;
    warn(&loaded, printer);
    let results = policy::run_cases(&home.policies(), &loaded.set);
    results_told(home, &results, printer)
}

fn results_told(home: &Home, results: &[CaseResult], printer: &mut Printer) -> Result<Exit, Fault> {
    let failed = results.iter().filter(|result| !result.passed).count();
    let exit = if failed == 0 { Exit::Ok } else { Exit::Invalid };
    if printer.is_json() {
        for result in results {
            printer.object("case", result)?;
        }
        return Ok(exit);
    }
    let mut files: BTreeMap<&str, Vec<&CaseResult>> = BTreeMap::new();
    for result in results {
        files.entry(&result.file).or_default().push(result);
    }
    for (file, results) in files {
        printer.line(&escape(&in_home(home, format!("policies/{file}"))))?;
        for result in results {
            let state = if result.passed {
                printer.paint(GOOD, "ok    ")
            } else {
                printer.paint(BAD, "failed")
            };
            printer.line(&format!("  {state}  {}", escape(&result.name)))?;
            if !result.passed {
                printer.line(&format!(
                    "            expected  {}",
                    escape(&result.expected)
                ))?;
                printer.line(&format!(
                    "            answered  {}",
                    escape(&result.answered)
                ))?;
            }
        }
    }
    printer.say(&format!(
        "{}, {failed} failed",
        number(results.len(), "case")
    ));
    if results.is_empty() {
        printer.hint("write cases as `policies/cases/<name>.json`; the shipped ones are examples");
    }
    Ok(exit)
}

/// The cases that fail, for `tollgate check`; one finding for all cases of a file that are about a plugin
/// which is not there, since what is missing is one thing.
pub(crate) fn case_findings(home: &Home, set: &PolicySet) -> Vec<Finding> {
    failing(home, policy::run_cases(&home.policies(), set))
}

fn failing(home: &Home, results: Vec<CaseResult>) -> Vec<Finding> {
    let file = |name: &str| in_home(home, format!("policies/{name}"));
    let mut missing: BTreeMap<(String, PluginName), usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for result in results.into_iter().filter(|result| !result.passed) {
        if let Some(plugin) = result.missing {
            *missing.entry((result.file, plugin)).or_default() += 1;
            continue;
        }
        let message = format!(
            "case `{}`: expected {}, answered {}",
            result.name, result.expected, result.answered
        );
        findings.push(
            Finding::new(Level::Error, file(&result.file), message)
            .help("`tollgate policy test` shows all of them, `tollgate policy explain` why a call is decided as it is"),
        );
    }
    findings.extend(missing.into_iter().map(|((name, plugin), cases)| {
        let message = format!(
            "no plugin `{plugin}` serves, so its {} could not be run",
            number(cases, "case")
        );
        Finding::new(Level::Warning, file(&name), message).help(format!(
            "put `{plugin}.wasm` into `plugins/`, or move its cases away"
        ))
    }));
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn a_case_that_fails_shows_both_answers() {
        let case = |name: &str, passed| CaseResult {
            file: "cases/github.json".into(),
            name: name.into(),
            passed,
            expected: "allow by github.read".into(),
            answered: if passed {
                "allow by github.read".into()
            } else {
                "refuse by no policy".into()
            },
            missing: None,
        };
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let results = [case("reads", true), case("comments", false)];
        let exit = results_told(&home, &results, &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 3
        /nonexistent/policies/cases/github.json
          ok      reads
          failed  comments
                    expected  allow by github.read
                    answered  refuse by no policy
        ---
        2 cases, 1 failed
        "#);
    }

    #[test]
    fn cases_of_a_plugin_that_is_not_there_are_one_warning() {
        let case = |file: &str, missing: Option<&str>| CaseResult {
            file: format!("cases/{file}.json"),
            name: "a case".into(),
            passed: false,
            expected: "allow by a".into(),
            answered: "nothing".into(),
            missing: missing.map(|name| name.parse().unwrap()),
        };
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let found = failing(
            &home,
            vec![
                case("gone", Some("gone")),
                case("gone", Some("gone")),
                case("there", None),
            ],
        );
        let told: Vec<_> = found
            .iter()
            .map(|found| format!("{:?} {}: {}", found.severity, found.file, found.message))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        Error /nonexistent/policies/cases/there.json: case `a case`: expected allow by a, answered nothing
        Warning /nonexistent/policies/cases/gone.json: no plugin `gone` serves, so its 2 cases could not be run
        ");
    }

    #[test]
    fn a_tier_goes_before_what_policy_allows() {
        let (mut printer, _, err) = Printer::buffers(Format::Human);
        assert_eq!(tiered(Tier::Auto, false, Exit::Ok, &mut printer), Exit::Ok);
        assert_eq!(err.text(), "");
        assert_eq!(
            tiered(Tier::Hold, false, Exit::Ok, &mut printer),
            Exit::Denied
        );
        assert_eq!(tiered(Tier::Hold, true, Exit::Ok, &mut printer), Exit::Ok);
        assert_eq!(
            tiered(Tier::Forbid, true, Exit::Ok, &mut printer),
            Exit::Denied
        );
    }
}
