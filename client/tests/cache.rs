//! The client of a whole cache against servers in the same process: what goes where, and what becomes of it when servers fall
//! silent, die, come and go.
//!
//! Must not repeat what the tables beside the code say of routing, the breaker and the budget.

mod stand_in;

use std::net::SocketAddr;
use std::time::Duration;

use memring_client::{Client, Error, Hash, Level, Options, RetryBudget, Topology};
use tokio::task::JoinSet;

use self::stand_in::{Nature, StandIn, eventually, ring_of};

/// Patient as a whole, impatient with each server.
fn options() -> Options {
    Options {
        deadline: Duration::from_secs(20),
        attempt: Duration::from_millis(50),
        refresh: Duration::from_millis(50),
        connections: 1,
        ..Options::default()
    }
}

/// A ring of servers, and a client of it.
async fn ring(count: usize, options: Options) -> (Vec<StandIn>, Client) {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(StandIn::start(Nature::default()).await);
    }
    tell_ring(&servers, 1);
    let client = Client::connect_with([servers[0].address.to_string()], options).await.unwrap();
    (servers, client)
}

fn tell_ring(servers: &[StandIn], epoch: u64) {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let text = ring_of(epoch, &addresses);
    servers.iter().for_each(|server| server.change(|nature| nature.ring = Some(text.clone())));
}

/// Keys whose first home this server is.
fn keys_of(topology: &Topology, server: SocketAddr, count: usize) -> Vec<String> {
    let keys = (0..).map(|number| format!("key-{number}"));
    keys.filter(|key| topology.homes(key.as_bytes())[0].address == server.to_string()).take(count).collect()
}

fn bytes(value: Option<memring_client::Value>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(&value.bytes).into_owned())
}

#[tokio::test]
async fn each_key_goes_to_its_first_home_and_gets_travel_together() {
    let (servers, client) = ring(3, options()).await;
    let topology = client.topology();
    let mut tasks = JoinSet::new();
    for server in &servers {
        for key in keys_of(&topology, server.address, 30) {
            server.keep(&key, &key);
            let client = client.clone();
            tasks.spawn(async move {
                client.set(format!("{key}-"), "x", 0, 0).await.unwrap();
                // Two tasks ask for each key.
                let (one, other) = tokio::join!(client.get(&key), client.get(&key));
                assert_eq!((bytes(one.unwrap()), bytes(other.unwrap())), (Some(key.clone()), Some(key)));
            });
        }
    }
    tasks.join_all().await;
    for server in &servers {
        let lines = server.lines("get");
        let keys = lines.iter().map(|line| line.split(' ').count() - 1).sum::<usize>();
        assert!(keys < 45, "a key that two ask for at a time is asked once: {keys} keys");
        assert!(lines.len() * 3 < keys, "{} lines of {keys} keys", lines.len());
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn calls_that_were_given_up_do_not_shift_the_answers_of_others() {
    let server = StandIn::start(Nature::default()).await;
    let client = Client::connect_with([server.address.to_string()], options()).await.unwrap();
    for number in 0..100 {
        server.keep(&format!("key-{number}"), &format!("value-{number}"));
    }
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        tasks.spawn(async move {
            let (key, other) = (format!("key-{number}"), format!("key-{}", (number + 7) % 100));
            for turn in 0..20 {
                if (number + turn) % 3 == 0 {
                    // Given up at some moment: before it is sent, while it is on its way, or when it is there.
                    let patience = async {
                        for _ in 0..(number + turn) % 5 {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! {
                        biased;
                        _ = client.get(&other) => {}
                        () = patience => {}
                    }
                }
                assert_eq!(bytes(client.get(&key).await.unwrap()), Some(format!("value-{number}")));
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(server.connections(), 1, "nothing was ever out of step");
}

#[tokio::test]
async fn a_server_that_dies_costs_no_read_and_its_writes_go_elsewhere() {
    let (mut servers, client) = ring(3, options()).await;
    let victim = servers.remove(1);
    let keys = keys_of(&client.topology(), victim.address, 50);
    for key in &keys {
        servers.iter().for_each(|server| server.keep(key, "kept"));
        victim.keep(key, "kept");
        assert_eq!(bytes(client.get(key).await.unwrap()), Some("kept".to_owned()));
    }
    let address = victim.kill().await;
    let many: Vec<_> = client.get_many(&keys).await.unwrap().into_iter().map(bytes).collect();
    assert_eq!(many, vec![Some("kept".to_owned()); 50]);
    for key in &keys {
        assert_eq!(bytes(client.get(key).await.unwrap()), Some("kept".to_owned()));
        client.set(key, "new", 0, 0).await.unwrap();
    }

    let nature = Nature { ring: None, ..Nature::default() };
    let back = StandIn::at(address, nature).await;
    eventually("a server that is back is asked again", async || {
        let _ = client.get(&keys[0]).await;
        !back.lines("get").is_empty()
    })
    .await;
    assert!(back.lines("version").len() >= 3, "trials came first");
}

#[tokio::test]
async fn a_silent_server_is_asked_no_more_until_it_answers_again() {
    let (servers, client) = ring(3, options()).await;
    let silent = &servers[2];
    let keys = keys_of(&client.topology(), silent.address, 20);
    servers.iter().for_each(|server| keys.iter().for_each(|key| server.keep(key, "kept")));
    silent.change(|nature| nature.is_silent = true);
    for key in keys.iter().cycle().take(30) {
        assert_eq!(bytes(client.get(key).await.unwrap()), Some("kept".to_owned()), "the next home answers");
    }
    let asked = silent.lines("get").len();
    assert!(asked < 10, "it was asked {asked} times");
    let (calls, repeats) = client.calls_and_repeats();
    assert!(calls >= 30 && (1..10).contains(&repeats), "{repeats} of {calls} calls were repeated");

    silent.change(|nature| nature.is_silent = false);
    eventually("it is asked again", async || {
        let _ = client.get(&keys[0]).await;
        silent.lines("get").len() > asked
    })
    .await;
}

#[tokio::test]
async fn a_ring_that_grows_is_noticed_and_keys_go_to_the_new_node() {
    let (mut servers, client) = ring(3, options()).await;
    servers.push(StandIn::start(Nature::default()).await);
    tell_ring(&servers, 2);
    eventually("the new ring is known", async || client.topology().epoch().0 == 2).await;
    let new = &servers[3];
    for key in keys_of(&client.topology(), new.address, 10) {
        client.set(&key, "x", 0, 0).await.unwrap();
        assert!(new.has(&key));
    }
    assert_eq!(servers[0].connections(), 1, "connections to servers that stay are kept");
    // A node that is behind changes nothing.
    tell_ring(&servers[..3], 1);
    let asked = servers.iter().map(|server| server.lines("config").len()).sum::<usize>();
    eventually("others have told theirs", async || {
        servers.iter().map(|server| server.lines("config").len()).sum::<usize>() > asked + 8
    })
    .await;
    assert_eq!(client.topology().epoch().0, 2);
}

#[tokio::test]
async fn plain_memcached_servers_have_keys_of_their_own() {
    for hash in [Hash::Ketama, Hash::Jump] {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(StandIn::start(Nature::default()).await);
        }
        let seeds: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
        let client = Client::connect_with(seeds.clone(), Options { hash, ..options() }).await.unwrap();
        let topology = Topology::of_memcached(&seeds, hash);
        let keys: Vec<String> = (0..100).map(|number| format!("key-{number}")).collect();
        for key in &keys {
            client.set(key, key, 0, 0).await.unwrap();
            let holder = servers.iter().find(|server| server.has(key)).expect("one has it");
            assert_eq!(topology.homes(key.as_bytes())[0].address, holder.address.to_string());
            assert_eq!(servers.iter().filter(|server| server.has(key)).count(), 1);
        }
        assert!(client.get_many(&keys).await.unwrap().iter().zip(&keys).all(|(value, key)| {
            value.as_ref().is_some_and(|value| value.bytes == key.as_bytes() && value.key == key.as_bytes())
        }));

        let victim = servers.remove(0);
        let lost: Vec<usize> = (0..100).filter(|&place| victim.has(&keys[place])).collect();
        victim.kill().await;
        let error = client.get_many(&keys).await.unwrap_err();
        assert_eq!(error.unread, lost, "only the keys of the dead server are not known");
        assert!(error.values.iter().flatten().count() == 100 - lost.len());
        let error = client.set(&keys[lost[0]], "x", 0, 0).await.unwrap_err();
        assert!(!error.may_have_been_applied(), "{error:?}");

        client.delete(&keys[(lost[0] + 1..).find(|place| !lost.contains(place)).unwrap()]).await.unwrap();
        assert!(client.flush_all(None).await.is_err(), "one of the servers was not told");
    }
}

#[tokio::test]
async fn a_read_whose_connection_ends_is_asked_again_of_the_only_server() {
    let server = StandIn::start(Nature::default()).await;
    let client = Client::connect_with([server.address.to_string()], options()).await.unwrap();
    server.keep("k", "kept");
    server.change(|nature| nature.closes_on_read = true);
    assert_eq!(bytes(client.get("k").await.unwrap()), Some("kept".to_owned()));
    server.change(|nature| nature.closes_on_read = true);
    let many = client.get_many(&["k", "nope"]).await.unwrap();
    assert_eq!(many.into_iter().map(bytes).collect::<Vec<_>>(), [Some("kept".to_owned()), None]);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn nodes_that_do_not_tell_their_ring_are_asked_for_any_key() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(StandIn::start(Nature { is_memring: true, ..Nature::default() }).await);
    }
    let addresses: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
    servers.iter().for_each(|server| server.change(|nature| nature.cluster.clone_from(&addresses)));
    let client = Client::connect_with([&addresses[2]], options()).await.unwrap();
    let topology = client.topology();
    assert!(topology.is_one_cache() && topology.ring().is_none());
    assert_eq!(topology.servers().len(), 3);
    for number in 0..60 {
        client.set(format!("key-{number}"), "x", 0, 0).await.unwrap();
    }
    assert!(servers.iter().all(|server| !server.lines("set").is_empty()));
    servers.remove(0).kill().await;
    for number in 0..60 {
        client.set(format!("key-{number}"), "x", 0, 0).await.unwrap();
        client.get(format!("key-{number}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_is_asked_again_only_if_it_may_be_applied_twice() {
    let (servers, client) = ring(3, options()).await;
    let key = &keys_of(&client.topology(), servers[0].address, 1)[0];
    client.set(key, "1", 0, 0).await.unwrap();
    servers[0].change(|nature| nature.closes_on_write = true);
    let error = client.set(key, "2", 0, 0).await.unwrap_err();
    assert!(error.may_have_been_applied(), "{error:?}");
    assert!(servers[1..].iter().all(|server| server.lines("set").is_empty()));

    servers[0].change(|nature| nature.closes_on_write = true);
    client.repeating_writes().set(key, "3", 0, 0).await.unwrap();
    assert_eq!(servers[1..].iter().filter(|server| server.has(key)).count(), 1);
}

#[tokio::test]
async fn without_a_budget_nothing_is_asked_again() {
    let retries = RetryBudget { percent: 0, floor_per_second: 0, saved_max: 0 };
    let (servers, client) = ring(3, Options { retries, ..options() }).await;
    let key = &keys_of(&client.topology(), servers[0].address, 1)[0];
    servers[0].change(|nature| nature.is_silent = true);
    let error = client.get(key).await.unwrap_err();
    assert!(matches!(error, Error::Deadline(_)), "{error:?}");
}

#[tokio::test]
async fn a_level_of_its_own_travels_with_the_request() {
    let (servers, client) = ring(1, options()).await;
    let client = client.at("2".parse().unwrap());
    client.set("k", "value", 7, 60).await.unwrap();
    let value = client.get("k").await.unwrap().unwrap();
    assert_eq!((&value.bytes[..], value.flags), (&b"value"[..], 7));
    assert_eq!(client.get("nope").await.unwrap(), None);
    let many = client.at(Level::One).get_many(&["k", "nope"]).await.unwrap();
    assert_eq!(many.into_iter().map(bytes).collect::<Vec<_>>(), [Some("value".to_owned()), None]);
    assert_eq!(servers[0].lines("ms"), ["ms k 5 F7 T60 L2"]);
    assert_eq!(servers[0].lines("mg")[..2], ["mg k v f k L2", "mg nope v f k L2"]);
    assert_eq!(servers[0].lines("mg")[2..], ["mg k v f k Lone", "mg nope v f k Lone"]);
}

#[tokio::test]
async fn a_connection_on_which_nonsense_comes_is_left_and_the_next_home_asked() {
    for nonsense in ["STORED\r\n", "VALUE other 0 1\r\nx\r\nEND\r\n", "HTTP/1.1 400\r\n", "END\r\nEND\r\n"] {
        let (servers, client) = ring(3, options()).await;
        let keys = keys_of(&client.topology(), servers[0].address, 2);
        servers.iter().for_each(|server| keys.iter().for_each(|key| server.keep(key, "kept")));
        servers[0].change(|nature| nature.says = Some(nonsense));
        let first = client.get(&keys[0]).await.unwrap();
        // One END too many is noticed after the answer.
        assert!(nonsense.starts_with("END") || bytes(first) == Some("kept".to_owned()), "{nonsense}");
        eventually("the server is asked on a new connection", async || {
            bytes(client.get(&keys[1]).await.unwrap()) == Some("kept".to_owned()) && servers[0].connections() == 2
        })
        .await;
    }
}

#[tokio::test]
async fn a_full_queue_is_waited_for_and_then_told_to_have_sent_nothing() {
    let server = StandIn::start(Nature::default()).await;
    // Nothing but the calls is to be in the queue.
    let refresh = Duration::from_secs(3600);
    let options = Options { requests_max: 2, deadline: Duration::from_millis(200), refresh, ..options() };
    let client = Client::connect_with([server.address.to_string()], options).await.unwrap();
    server.change(|nature| nature.is_silent = true);
    let (one, two, three) =
        tokio::join!(client.set("a", "", 0, 0), client.set("b", "", 0, 0), client.set("c", "", 0, 0));
    for (result, may_have_been_applied) in [(one, true), (two, true), (three, false)] {
        let error = result.unwrap_err();
        assert_eq!(error.may_have_been_applied(), may_have_been_applied, "{error:?}");
    }
    assert_eq!(server.lines("set").len(), 2);
}

#[tokio::test]
async fn what_cannot_be_said_or_reached_is_told_at_once() {
    let (_servers, client) = ring(1, options()).await;
    assert!(matches!(client.get("two words").await, Err(Error::InvalidKey)));
    assert!(matches!(client.set("", "x", 0, 0).await, Err(Error::InvalidKey)));
    let error = client.get_many(&["a", "b c"]).await.unwrap_err();
    assert!(matches!(error.source, Error::InvalidKey) && error.unread == [0, 1]);
    assert!(matches!(Client::connect(Vec::<String>::new()).await, Err(Error::NotSent(_))));
    let nobody = StandIn::start(Nature::default()).await.kill().await;
    assert!(matches!(Client::connect([nobody.to_string()]).await, Err(Error::Connect(_))));
    let stats = client.stats("").await.unwrap();
    assert_eq!(stats.len(), 1);
    assert_eq!(stats[0].1.as_ref().unwrap()[0], ("pid".to_owned(), "1".to_owned()));
}
