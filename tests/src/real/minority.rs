//! One of three nodes is cut off: the others serve every command, and it answers none as if it knew.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::clock::{now_us, pause, seconds_since};
use super::cluster::Cluster;
use super::copies::{Equal, wait_equal};
use super::namespaces::Namespaces;
use super::wire::{Ends, Wire};

/// The one that is cut off.
const LONE: usize = 2;

/// Items that the others store and delete meanwhile.
const ITEMS: usize = 4_000;

/// How long the others may take to serve every command.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// When the lone node is asked, counted from the cut: while it may not have noticed, and when it surely has.
const ASKED_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(6)];

/// What a node that does not know may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Honest {
    /// An error of the server: it changes nothing that it knows of.
    Error,
    /// That, or a miss: the truth is at the source.
    Miss,
    /// It is about the node itself, or its own copy.
    Own,
}

/// A command: what is sent, with `{k}` for a key and `{t}` for its cas token; what it is answered where all is well, of a key
/// that holds 1 or (the second) of none; and what a node may say that does not know.
struct Asked(&'static str, Ends, &'static str, &'static str, Honest);

use Ends::{AtOnce, WithEnd};
use Honest::{Error, Miss, Own};

#[rustfmt::skip]
const COMMANDS: &[Asked] = &[
    Asked("get {k}", WithEnd, "VALUE {k} 0 1", "END", Miss),
    Asked("gets {k}", WithEnd, "VALUE {k} 0 1 {t}", "END", Miss),
    Asked("gat 100 {k}", WithEnd, "VALUE {k} 0 1", "END", Miss),
    Asked("gats 100 {k}", WithEnd, "VALUE {k} 0 1 {t}", "END", Miss),
    Asked("mg {k} v", AtOnce, "VA 1", "EN", Miss),
    Asked("mg {k}", AtOnce, "HD", "EN", Miss),
    Asked("mg {k} v N30", AtOnce, "VA 1", "VA 0 W", Miss),
    Asked("mg {k} v R30", AtOnce, "VA 1", "EN", Miss),
    Asked("mg {k} v T30", AtOnce, "VA 1", "EN", Miss),
    Asked("me {k}", AtOnce, "ME {k} ", "EN", Miss),
    Asked("set {k} 0 0 1\r\n2", AtOnce, "STORED", "STORED", Error),
    Asked("add {k} 0 0 1\r\n2", AtOnce, "NOT_STORED", "STORED", Error),
    Asked("replace {k} 0 0 1\r\n2", AtOnce, "STORED", "NOT_STORED", Error),
    Asked("append {k} 0 0 1\r\n2", AtOnce, "STORED", "NOT_STORED", Error),
    Asked("prepend {k} 0 0 1\r\n2", AtOnce, "STORED", "NOT_STORED", Error),
    Asked("cas {k} 0 0 1 {t}\r\n2", AtOnce, "STORED", "NOT_FOUND", Error),
    Asked("incr {k} 1", AtOnce, "2", "NOT_FOUND", Error),
    Asked("decr {k} 1", AtOnce, "0", "NOT_FOUND", Error),
    Asked("touch {k} 100", AtOnce, "TOUCHED", "NOT_FOUND", Error),
    Asked("delete {k}", AtOnce, "DELETED", "NOT_FOUND", Error),
    Asked("ms {k} 1\r\n2", AtOnce, "HD", "HD", Error),
    Asked("ms {k} 1 MS\r\n2", AtOnce, "HD", "HD", Error),
    Asked("ms {k} 1 ME\r\n2", AtOnce, "NS", "HD", Error),
    Asked("ms {k} 1 MR\r\n2", AtOnce, "HD", "NS", Error),
    Asked("ms {k} 1 MA\r\n2", AtOnce, "HD", "NS", Error),
    Asked("ms {k} 1 MP\r\n2", AtOnce, "HD", "NS", Error),
    Asked("ms {k} 1 MA N30\r\n2", AtOnce, "HD", "HD", Error),
    Asked("ms {k} 1 C{t}\r\n2", AtOnce, "HD", "NF", Error),
    Asked("ms {k} 1 C{t} I\r\n2", AtOnce, "HD", "NF", Error),
    Asked("md {k}", AtOnce, "HD", "NF", Error),
    Asked("md {k} C{t}", AtOnce, "HD", "NF", Error),
    Asked("md {k} I T30", AtOnce, "HD", "NF", Error),
    Asked("ma {k} v", AtOnce, "VA 1", "NF", Error),
    Asked("ma {k} MD v", AtOnce, "VA 1", "NF", Error),
    Asked("ma {k} N30 J5 v", AtOnce, "VA 1", "VA 1", Error),
    // What one copy decides for itself: the only level at which a lone node serves.
    Asked("mg {k} v Lone", AtOnce, "VA 1", "EN", Own),
    Asked("ms {k} 1 Lone\r\n2", AtOnce, "HD", "HD", Own),
    Asked("mn", AtOnce, "MN", "MN", Own),
    Asked("verbosity 0", AtOnce, "OK", "OK", Own),
    Asked("version", AtOnce, "VERSION ", "VERSION ", Own),
    Asked("stats", WithEnd, "STAT ", "STAT ", Own),
];

/// Tells both sides' answers, and how soon all copies are equal after the heal.
pub fn tell(cluster: &mut Cluster, namespaces: &Namespaces) -> Result<(), String> {
    let nodes = cluster.clients();
    fill(nodes[0], "before", 0)?;
    let tokens = prepare(nodes[0])?;
    cut_off(namespaces)?;
    let cut_us = now_us();
    let mut answers = vec![BTreeSet::new(); COMMANDS.len()];
    let mut wrong = Vec::new();
    for after in ASKED_AFTER {
        pause(after.saturating_sub(Duration::from_micros(now_us() - cut_us)));
        wrong = std::thread::scope(|scope| {
            // Both sides at once, from the moment of the cut on.
            let others = (after == Duration::ZERO).then(|| scope.spawn(|| use_majority(&nodes[..LONE], cut_us)));
            ask_lone(nodes[LONE], &tokens, &mut answers)?;
            others.map_or(Ok(std::mem::take(&mut wrong)), |others| others.join().expect("a client does not panic"))
        })?;
    }
    wrong.extend(judge(&answers));
    fill(nodes[0], "after", ITEMS / 4)?;
    let dropped = namespaces.heal()?;
    let Equal { seconds, items, differed } = wait_equal(&nodes)?;
    if differed.is_empty() {
        return Err("the copies were equal all the time: nothing was tried".to_owned());
    }
    println!(
        "minority: {items} items equal on all nodes {seconds:.1} s after the heal, {} copies of them not at once; {dropped} \
         packets were dropped",
        differed.len()
    );
    cluster.wait_whole()?;
    wrong.extend(flush(cluster, namespaces)?);
    if wrong.is_empty() {
        println!("minority: ok");
        return Ok(());
    }
    Err(format!("{} wrong answers:\n  {}", wrong.len(), wrong.join("\n  ")))
}

fn cut_off(namespaces: &Namespaces) -> Result<(), String> {
    (0..LONE).try_for_each(|node| namespaces.cut(node, LONE))
}

/// The majority changes what the lone node is asked for, and is then asked every command itself.
fn use_majority(majority: &[SocketAddr], cut_us: u64) -> Result<Vec<String>, String> {
    let seconds = change_keys(majority, cut_us)?;
    println!("minority: the other two had changed every key {seconds:.1} s after the cut");
    ask_majority(majority, cut_us)
}

fn told(error: io::Error) -> String {
    error.to_string()
}

/// Stores items; with `deleted` also deletes so many of those that were there.
fn fill(node: SocketAddr, what: &str, deleted: usize) -> Result<(), String> {
    let mut wire = Wire::connect(node).map_err(told)?;
    let mut requests: Vec<(String, &str)> = (0..deleted).map(|item| (format!("md item-{item}"), "HD")).collect();
    requests.extend((deleted..ITEMS).map(|item| (format!("ms item-{item} {} T0\r\n{what}", what.len()), "HD")));
    for some in requests.chunks(100) {
        let bytes: String = some.iter().map(|(request, _)| format!("{request}\r\n")).collect();
        wire.send(bytes.as_bytes()).map_err(told)?;
        for (request, expected) in some {
            let reply = wire.read(AtOnce).map_err(told)?;
            if !reply.line.starts_with(expected) {
                return Err(format!("{request:?} was answered {}", reply.line));
            }
        }
    }
    Ok(())
}

/// The keys that a command is tried on at the lone node: what they held, and what the majority then did to them.
const CASES: [&str; 4] = ["kept", "changed", "deleted", "created"];

fn case_key(command: usize, case: &str) -> String {
    format!("case-{command}-{case}")
}

/// Stores what is there before the cut; the cas tokens by command and case.
fn prepare(node: SocketAddr) -> Result<Vec<Vec<u64>>, String> {
    let mut wire = Wire::connect(node).map_err(told)?;
    let mut tokens = Vec::new();
    for command in 0..COMMANDS.len() {
        let mut of_command = Vec::new();
        for case in CASES {
            of_command.push(if case == "created" { 1 } else { store_one(&mut wire, &case_key(command, case))? });
        }
        tokens.push(of_command);
    }
    Ok(tokens)
}

/// Stores 1; its cas token.
fn store_one(wire: &mut Wire, key: &str) -> Result<u64, String> {
    let reply = wire.ask(&format!("ms {key} 1 c\r\n1"), AtOnce).map_err(told)?;
    let token = reply.line.strip_prefix("HD c").and_then(|token| token.parse().ok());
    token.ok_or_else(|| format!("a set of {key} was answered {}", reply.line))
}

/// The majority changes, deletes and creates the keys; whatever is in doubt is asked for again. Seconds since the cut.
fn change_keys(majority: &[SocketAddr], cut_us: u64) -> Result<f64, String> {
    for command in 0..COMMANDS.len() {
        for case in &CASES[1..] {
            let key = case_key(command, case);
            let request = if *case == "deleted" { format!("md {key}") } else { format!("ms {key} 1\r\n5") };
            let accepts = |line: &str| line == "HD" || (line == "NF" && *case == "deleted");
            served(majority[command % LONE], cut_us, |wire| {
                let reply = wire.ask(&request, AtOnce)?;
                Ok(if accepts(&reply.line) { Ok(()) } else { Err(format!("{request:?}: {}", reply.line)) })
            })?;
        }
    }
    Ok(seconds_since(cut_us))
}

/// Tries until it is served; how often it was not.
fn served(
    node: SocketAddr,
    cut_us: u64,
    mut attempt: impl FnMut(&mut Wire) -> io::Result<Result<(), String>>,
) -> Result<usize, String> {
    let mut refused = 0;
    loop {
        let mut wire = Wire::connect(node).map_err(told)?;
        match attempt(&mut wire).map_err(told)? {
            Ok(()) => return Ok(refused),
            Err(why) if seconds_since(cut_us) > SERVED_WITHIN.as_secs_f64() => {
                return Err(format!("the majority does not serve {why}"));
            }
            Err(_) => refused += 1,
        }
    }
}

/// Asks the lone node every command, all at the same time, for an answer may take as long as the node tries.
fn ask_lone(node: SocketAddr, tokens: &[Vec<u64>], answers: &mut [BTreeSet<String>]) -> Result<(), String> {
    let ask = |command: usize| -> io::Result<Vec<String>> {
        let Asked(request, ends, ..) = &COMMANDS[command];
        let mut wire = Wire::connect(node)?;
        let mut said = Vec::new();
        for (case, token) in CASES.iter().zip(&tokens[command]) {
            let request = request.replace("{k}", &case_key(command, case)).replace("{t}", &token.to_string());
            said.push(wire.ask(&request, *ends)?.line);
        }
        Ok(said)
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..COMMANDS.len()).map(|command| scope.spawn(move || ask(command))).collect();
        for (answers, asked) in answers.iter_mut().zip(asking) {
            answers.extend(asked.join().expect("a client does not panic").map_err(told)?);
        }
        Ok(())
    })
}

/// Tells what the lone node said; what of it is false.
fn judge(answers: &[BTreeSet<String>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (Asked(request, _, _, _, honest), said) in COMMANDS.iter().zip(answers) {
        let is_honest = |line: &&String| match honest {
            Error => line.starts_with("SERVER_ERROR "),
            Miss => line.starts_with("SERVER_ERROR ") || *line == "END" || *line == "EN",
            Own => true,
        };
        let told: Vec<&str> = said.iter().map(String::as_str).take(4).collect();
        let shown = request.replace("\r\n", " ");
        println!("minority: alone {shown:<24} {}", told.join(" | "));
        wrong.extend(said.iter().filter(|line| !is_honest(line)).map(|line| format!("alone {shown}: {line}")));
    }
    wrong
}

/// Every command on both nodes of the majority, of a key that holds something and of one that does not.
fn ask_majority(majority: &[SocketAddr], cut_us: u64) -> Result<Vec<String>, String> {
    let (mut wrong, mut asked, mut refused) = (Vec::new(), 0, 0);
    for (number, node) in majority.iter().enumerate() {
        for (command, Asked(request, ends, present, absent, _)) in COMMANDS.iter().enumerate() {
            for (is_there, expected) in [(true, present), (false, absent)] {
                let mut attempts = 0;
                asked += 1;
                let outcome = served(*node, cut_us, |wire| {
                    attempts += 1;
                    let key = format!("both-{number}-{command}-{is_there}-{attempts}");
                    let token = if is_there { store_one(wire, &key) } else { Ok(1) };
                    let Ok(token) = token else { return Ok(Err(format!("a set of {key}"))) };
                    let fill = |text: &str| text.replace("{k}", &key).replace("{t}", &token.to_string());
                    let line = wire.ask(&fill(request), *ends)?.line;
                    let is_right = line.starts_with(&fill(expected));
                    Ok(if is_right { Ok(()) } else { Err(format!("{request:?}: {line}")) })
                });
                match outcome {
                    Ok(more) => refused += more,
                    Err(why) => wrong.push(why),
                }
            }
        }
    }
    let (right, seconds) = (asked - wrong.len(), seconds_since(cut_us));
    println!(
        "minority: the other two had served {right} of {asked} commands rightly {seconds:.1} s after the cut, with {refused} \
         tries in doubt"
    );
    Ok(wrong)
}

/// A flush, last of all: one in doubt may come true later and leave nothing to compare.
fn flush(cluster: &mut Cluster, namespaces: &Namespaces) -> Result<Vec<String>, String> {
    let nodes = cluster.clients();
    cut_off(namespaces)?;
    let mut wrong = Vec::new();
    for (request, node, honest) in [
        ("flush_all", LONE, "SERVER_ERROR "),
        ("flush_all 60", LONE, "SERVER_ERROR "),
        ("flush_all", 0, "OK"),
        ("flush_all 60", 1, "OK"),
    ] {
        let begin_us = now_us();
        let line = Wire::connect(nodes[node]).and_then(|mut wire| wire.ask(request, AtOnce)).map_err(told)?.line;
        let side = if node == LONE { "alone" } else { "majority" };
        println!("minority: {side} {request:<18} {line} ({:.1} s)", seconds_since(begin_us));
        if !line.starts_with(honest) {
            wrong.push(format!("{side} {request}: {line}"));
        }
    }
    namespaces.heal()?;
    let Equal { seconds, items, .. } = wait_equal(&nodes)?;
    println!("minority: {items} items on all nodes {seconds:.1} s after the heal");
    if items > 0 {
        wrong.push(format!("{items} items are left of a flush"));
    }
    Ok(wrong)
}
