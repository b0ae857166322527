//! `tollgate task`: what agents are on.

use super::args::{BoundArgument, Task, TaskStart};
use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use super::table::Table;
use crate::control::TaskReport;
use crate::daemon::{Command, TaskOrder};
use crate::home::Home;
use crate::journal::escape;
use crate::task::{Allowed, Amounts, Budget, Budgets, Constraint, Kind};

pub(crate) fn run(command: Task, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match command {
        Task::Start(start) => {
            let command = Command::TaskStart {
                task: Box::new(order(start)?),
            };
            let task: TaskReport = client::ask_for(home, Absent::Starts, command, printer)?;
            started(&task, printer)
        }
        Task::Show { task } => {
            let command = Command::TaskShow { task };
            let task: TaskReport = client::ask_for(home, Absent::Starts, command, printer)?;
            show(&task, printer)
        }
        Task::List { agent, all } => {
            let command = Command::TaskList {
                agent: agent.map(|agent| agent.to_string()),
                all,
            };
            let tasks: Vec<TaskReport> = client::ask_for(home, Absent::Starts, command, printer)?;
            list(&tasks, printer)
        }
        Task::End { task, why } => {
            let command = Command::TaskEnd { task, why };
            let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
            if printer.is_json() {
                printer.object("ended", &answer)?;
            }
            printer.say(&format!("ended `{task}`: its calls are stopped"));
            Ok(Exit::Ok)
        }
    }
}

/// What was typed, as the daemon is asked.
fn order(start: TaskStart) -> Result<TaskOrder, Fault> {
    let mut budgets = Budgets::default();
    for one in start.budgets {
        let budget = match one.tool {
            Some(tool) => budgets.tools.entry(tool).or_default(),
            None => &mut budgets.all,
        };
        budget.set(one.kind, one.bound);
    }
    let mut tools: Vec<Allowed> = Vec::new();
    for tool in start.tools {
        if !tools.iter().any(|known| known.tool == tool) {
            tools.push(Allowed {
                tool,
                arguments: Vec::new(),
            });
        }
    }
    for BoundArgument { tool, at, value } in start.arguments {
        let Some(allowed) = tools.iter_mut().find(|known| known.tool == tool) else {
            return Err(Fault::invalid(format!(
                "`--arg` is about `{tool}`, which no `--tool` names"
            ))
            .hint(format!("add `--tool {tool}`")));
        };
        match allowed.arguments.iter_mut().find(|known| known.at == at) {
            Some(known) => known.one_of.push(value),
            None => allowed.arguments.push(
                Constraint::new(&at, vec![value])
                    .map_err(|error| Fault::invalid(error.to_string()))?,
            ),
        }
    }
    Ok(TaskOrder {
        agent: start.agent.to_string(),
        user: start.user,
        intent: start.intent,
        tools,
        budgets,
        seconds: start.lifetime.as_secs(),
        within: start.within,
    })
}

fn started(task: &TaskReport, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("task", task)?;
        return Ok(Exit::Ok);
    }
    // The identifier alone is data, so that it can be kept in a variable.
    printer.line(&task.task.to_string())?;
    printer.say(&format!(
        "`{}` is on it until {}",
        escape(task.agent.name()),
        escape(&task.expires)
    ));
    printer.hint(&format!(
        "calls name it in `_meta` as `dev.tollgate/task`, in the header `Tollgate-Task`, or by `tollgate serve --stdio --task {}`; where it is the agent's only task, they need not",
        task.task
    ));
    Ok(Exit::Ok)
}

fn show(task: &TaskReport, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("task", task)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![
        ("task", task.task.to_string()),
        ("agent", task.agent.to_string()),
    ];
    rows.extend(task.user.clone().map(|user| ("user", user)));
    rows.push(("intent", task.intent.clone()));
    let status = match &task.why {
        Some(why) => format!("{}: {why}", task.status),
        None => task.status.clone(),
    };
    rows.push(("status", status));
    rows.push(("started", task.created.clone()));
    rows.push(("until", task.expires.clone()));
    rows.extend(task.within.map(|within| ("within", within.to_string())));
    rows.extend(task.tools.iter().map(|tool| ("tool", tool.clone())));
    rows.push(("used", amounts(&task.used.all, &task.budgets.all)));
    for (tool, used) in &task.used.tools {
        let none = Budget::default();
        let budget = task.budgets.tools.get(tool).unwrap_or(&none);
        rows.push(("", format!("{tool}: {}", amounts(used, budget))));
    }
    if !task.labels.is_empty() {
        rows.push(("labels", task.labels.join(", ")));
    }
    for (name, value) in rows {
        printer.line(&format!("{name:<8} {}", escape(&value)))?;
    }
    Ok(Exit::Ok)
}

/// `calls 3 of 10, host_calls 7, ...`
fn amounts(used: &Amounts, budget: &Budget) -> String {
    let parts: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| match budget.get(kind) {
            Some(bound) => format!("{kind} {} of {bound}", used.get(kind)),
            None => format!("{kind} {}", used.get(kind)),
        })
        .collect();
    parts.join(", ")
}

fn list(tasks: &[TaskReport], printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for task in tasks {
            printer.object("task", task)?;
        }
        return Ok(Exit::Ok);
    }
    if tasks.is_empty() {
        printer.say("there are no tasks");
        printer.hint("run `tollgate task start --agent NAME --intent TEXT --tool TOOL`");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["TASK", "AGENT", "STATUS", "UNTIL", "CALLS", "INTENT"]);
    for task in tasks {
        let calls = match task.budgets.all.calls {
            Some(bound) => format!("{} of {bound}", task.used.all.calls),
            None => task.used.all.calls.to_string(),
        };
        let id = task.task.to_string();
        let row = [
            id.as_str(),
            task.agent.name(),
            &task.status,
            &task.expires,
            &calls,
            &task.intent,
        ];
        table.row(row.map(escape));
    }
    for line in table.lines() {
        printer.line(&line)?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::cli::args::{Cli, Command as Typed, Format};

    fn typed(line: &str) -> Result<TaskOrder, Fault> {
        let words = format!("tollgate task start --agent a --intent x {line}");
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        let Typed::Task(Task::Start(start)) = cli.command else {
            panic!("{line}");
        };
        order(start)
    }

    #[test]
    fn what_is_typed_becomes_a_task() {
        let order = typed(
            "--tool github.* --tool jq.run --arg github.*:/repository=a/b --arg github.*:/number=7 --arg github.*:/repository=c --budget calls=1_000 --budget jq.run:fuel=5 --for 30m",
        )
        .unwrap();
        assert_eq!(order.seconds, 1_800);
        assert_eq!(order.budgets.all.calls, Some(1_000));
        assert_eq!(
            serde_json::to_value(&order.tools).unwrap(),
            json!([
                {"tool": "github.*", "arguments": [
                    {"at": "/repository", "one_of": ["a/b", "c"]}, {"at": "/number", "one_of": [7]}]},
                {"tool": "jq.run"},
            ])
        );
        assert_eq!(
            serde_json::to_value(&order.budgets.tools).unwrap(),
            json!({"jq.run": {"fuel": 5}})
        );
        assert_eq!(
            typed("--tool jq.run --arg jq.*:/a=1").unwrap_err().exit,
            Exit::Invalid
        );
        assert_eq!(
            typed("--tool jq.run --arg jq.run:a=1").unwrap_err().exit,
            Exit::Invalid
        );
    }

    #[test]
    fn a_task_is_shown_with_what_it_used() {
        let report: TaskReport = serde_json::from_value(json!({
            "task": "task_aaaaaaaaaaaaaaaa", "agent": "claude", "user": null, "intent": "triage\u{1b}",
            "status": "ended", "why": "done", "tools": ["github.search"],
            "budgets": {"all": {"calls": 10}}, "used": {"all": {"calls": 3, "fuel": 9}},
            "labels": ["private"], "created": "c", "expires": "e", "ended": "n", "within": null,
        }))
        .unwrap();
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        show(&report, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        task     task_aaaaaaaaaaaaaaaa
        agent    spiffe://tollgate.local/agent/claude
        intent   triage\u{1b}
        status   ended: done
        started  c
        until    e
        tool     github.search
        used     calls 3 of 10, host_calls 0, fuel 9, bytes 0
        labels   private
        "#);
    }
}
