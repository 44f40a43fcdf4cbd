//! What a node's `/api/cluster` says, as far as people are shown it.
//!
//! Must not know where it came from. Fields that later versions add are ignored; missing ones are empty.

use std::fmt::Write;

use serde::Deserialize;

/// The answer of `/api/cluster`.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClusterState {
    pub(crate) cluster: String,
    pub(crate) ring_id: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) partitions: u64,
    pub(crate) members: Vec<Member>,
}

/// One node of it.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) zone: String,
    pub(crate) weight: serde_json::Value,
    pub(crate) client: Option<String>,
    pub(crate) peer: Option<String>,
    pub(crate) admin: Option<String>,
    pub(crate) synced: Option<f64>,
}

impl Member {
    /// How much of its share it holds: `-` when it does not run, since what it last said of itself is gone with it.
    fn synced_shown(&self) -> String {
        let runs = !matches!(self.state.as_str(), "failed" | "restarting");
        // Rounded down: 100 % is said only when nothing is missing.
        let synced = self.synced.filter(|_| runs).map(|synced| format!("{} %", (synced * 100.0).floor()));
        synced.unwrap_or_else(|| "-".to_owned())
    }
}

impl ClusterState {
    /// How many members are alive.
    pub(crate) fn alive(&self) -> usize {
        self.members.iter().filter(|member| member.state == "alive").count()
    }

    /// A table for people.
    pub(crate) fn table(&self) -> String {
        let dash =
            |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        let mut rows =
            vec![["NAME", "STATE", "ZONE", "WEIGHT", "CLIENTS", "PEERS", "ADMIN", "SYNCED"].map(str::to_owned)];
        rows.extend(self.members.iter().map(|member| {
            [
                member.name.clone(),
                member.state.clone(),
                dash(&Some(member.zone.clone())),
                if member.weight.is_null() { "-".to_owned() } else { member.weight.to_string() },
                dash(&member.client),
                dash(&member.peer),
                dash(&member.admin),
                member.synced_shown(),
            ]
        }));
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut table = format!(
            "cluster {}: ring {}, epoch {}, {} of {} nodes alive\n\n",
            self.cluster,
            dash(&self.ring_id),
            self.epoch,
            self.alive(),
            self.members.len(),
        );
        for row in rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            // Writing to a string does not fail.
            let _ = writeln!(table, "{}", cells.join("  ").trim_end());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_is_known() {
        let state: ClusterState = serde_json::from_str(
            r#"{"cluster": "memring", "ring_id": "00ab", "epoch": 3, "partitions": 16384, "later": 1, "members": [
                {"name": "n1", "state": "alive", "zone": "", "weight": 1.0, "client": "127.0.0.1:11211",
                 "peer": "127.0.0.1:11212", "admin": "127.0.0.1:11213", "synced": 0.999},
                {"name": "n2", "state": "failed", "zone": "b", "client": null, "synced": 1.0}]}"#,
        )
        .expect("the contract's JSON");
        assert_eq!(
            state.table(),
            "cluster memring: ring 00ab, epoch 3, 1 of 2 nodes alive\n\n\
             NAME  STATE   ZONE  WEIGHT  CLIENTS          PEERS            ADMIN            SYNCED\n\
             n1    alive   -     1.0     127.0.0.1:11211  127.0.0.1:11212  127.0.0.1:11213  99 %\n\
             n2    failed  b     -       -                -                -                -\n"
        );
    }
}
