//! Who has a key, in the ring's order, and why.
//!
//! Must not know who told the ring.

use std::fmt::Write as _;

use memring_client::{MemberState, Ring, RingMember, Token, ToldMember};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Paint;
use crate::{json, keys};

/// The homes of a key.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Owners {
    key: Vec<u8>,
    token: Token,
    homes: Vec<Home>,
    /// Who they will be, while a member is coming, going or changing.
    next: Option<Vec<String>>,
}

/// One of them.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Home {
    name: String,
    zone: String,
    state: String,
    #[serde(skip)]
    known: MemberState,
    synced: f64,
    client: Option<String>,
    why: String,
}

impl Owners {
    pub(super) fn of(ring: &Ring, key: &[u8]) -> Self {
        let token = Token::of(key);
        let partition = token.partition();
        let mut homes: Vec<Home> = Vec::new();
        for member in ring.homes(partition) {
            let told = ring.members().find(|(other, _)| other.slot == member.slot).map(|(_, told)| *told);
            let why = why(member, &homes);
            homes.push(Home::new(member, told.unwrap_or_default(), why));
        }
        let name = |slot| ring.config().member(slot).map_or_else(String::new, |member| member.name.to_string());
        let next = ring.next_placement().map(|next| next.homes(partition).iter().map(|slot| name(*slot)).collect());
        Self { key: key.to_vec(), token, homes, next }
    }

    pub(super) fn json(&self) -> String {
        let mut object = Map::new();
        json::put_bytes(&mut object, "key", &self.key);
        object.insert("token".to_owned(), self.token_shown().into());
        object.insert("partition".to_owned(), self.token.partition().number().into());
        object.insert("homes".to_owned(), serde_json::to_value(&self.homes).unwrap_or_default());
        object.insert("next_homes".to_owned(), self.next.clone().into());
        format!("{}\n", Value::Object(object))
    }

    pub(super) fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(paint, &mut out);
        out
    }

    fn write(&self, paint: Paint, out: &mut String) -> std::fmt::Result {
        let (key, token, partition) = (keys::escaped(&self.key), self.token_shown(), self.token.partition().number());
        writeln!(out, "key {key}: token {token}, partition {partition}\n")?;
        let width =
            |of: fn(&Home) -> &str| self.homes.iter().map(|home| of(home).chars().count()).max().unwrap_or(0).max(4);
        let (name, zone) = (width(|home| &home.name), width(|home| &home.zone));
        writeln!(out, "   {:name$}  {:zone$}  {:10}  {:>6}  WHY", "NAME", "ZONE", "STATE", "SYNCED")?;
        for (place, home) in self.homes.iter().enumerate() {
            let state = paint.state(home.known, &format!("{:10}", home.state));
            // Rounded down: 100 % is said only when nothing is missing.
            let synced = format!("{:>4.0} %", (home.synced * 100.0).floor());
            let synced = if home.synced < 1.0 { paint.yellow(&synced) } else { synced };
            let shown_zone = if home.zone.is_empty() { "-" } else { &home.zone };
            writeln!(out, "{}. {:name$}  {shown_zone:zone$}  {state}  {synced}  {}", place + 1, home.name, home.why)?;
        }
        if let Some(next) = &self.next {
            writeln!(out, "\nwhen the move under way is over: {}", next.join(", "))?;
        }
        Ok(())
    }

    fn token_shown(&self) -> String {
        format!("{:016x}", self.token.0)
    }
}

impl Home {
    fn new(member: &RingMember, told: ToldMember, why: String) -> Self {
        Self {
            name: member.name.to_string(),
            zone: member.share.zone.clone(),
            state: told.state.to_string(),
            known: told.state,
            synced: f64::from(told.synced_permille) / 1000.0,
            client: told.client.map(|client| client.to_string()),
            why,
        }
    }
}

/// Why the ring's walk took this member after those: clockwise from the key's partition, distinct zones first.
fn why(member: &RingMember, before: &[Home]) -> String {
    let zone = &member.share.zone;
    match before.iter().find(|home| home.zone == *zone && !zone.is_empty()) {
        _ if before.is_empty() => "first clockwise".to_owned(),
        Some(same) => format!("next clockwise; zone {zone} again, as {} has: no other zone is left", same.name),
        None if zone.is_empty() => "next clockwise".to_owned(),
        None => format!("next clockwise in another zone, {zone}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{COLOURED, PLAIN, ring};
    use super::*;

    #[test]
    fn homes_are_told_in_order_with_reasons() {
        let ring = ring(3, &["n1 a 100 active alive 1000", "n2 a 100 active alive 1000", "n3 b 100 active failed 333"]);
        let owners = Owners::of(&ring, b"greeting");
        let names: Vec<&str> = owners.homes.iter().map(|home| home.name.as_str()).collect();
        let expected: Vec<String> =
            ring.homes(Token::of(b"greeting").partition()).map(|member| member.name.to_string()).collect();
        assert_eq!(names, expected);
        // Two zones: whichever is first, the other zone comes second, and the third must share one.
        assert_eq!(owners.homes[0].why, "first clockwise");
        assert_ne!(owners.homes[0].zone, owners.homes[1].zone);
        assert_eq!(owners.homes[1].why, format!("next clockwise in another zone, {}", owners.homes[1].zone));
        assert!(owners.homes[2].why.ends_with("no other zone is left"), "{}", owners.homes[2].why);

        let text = owners.text(PLAIN);
        assert!(text.starts_with("key greeting: token ") && text.contains("  failed        33 %  "), "{text}");
        assert!(owners.text(COLOURED).contains("\x1b[31mfailed"));
        let json: Value = serde_json::from_str(&owners.json()).expect("JSON");
        assert_eq!((&json["key"], &json["next_homes"]), (&"greeting".into(), &Value::Null));
        assert_eq!(json["homes"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["token"].as_str().map(str::len), Some(16));
    }

    #[test]
    fn a_move_under_way_is_told() {
        let ring = ring(1, &["n1 - 100 leaving alive 1000", "n2 - 100 active alive 1000"]);
        let of_n1 = (0..100).map(|key| Owners::of(&ring, format!("k{key}").as_bytes()));
        let owners = of_n1.into_iter().find(|owners| owners.homes[0].name == "n1").expect("one of a hundred keys");
        assert_eq!(owners.next.as_deref(), Some(&["n2".to_owned()][..]));
        assert!(owners.text(PLAIN).ends_with("\nwhen the move under way is over: n2\n"), "{}", owners.text(PLAIN));
    }
}
