//! The client against a server that knows its lines by heart: what it must be sent, and what it answers.
//!
//! Must not know what memcached would do; the script says.

use std::time::Duration;

use memring_client::{Answer, CasOutcome, Connection, Direction, Error, Limits, Pipeline, StoreVerb, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Runs `call` on a connection whose server expects exactly `sent`, answers `reply`, and then closes.
async fn with_server<T>(sent: &str, reply: &str, limits: Limits, call: impl AsyncFnOnce(&mut Connection) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).await.unwrap();
        assert_eq!(received.escape_ascii().to_string(), sent.escape_default().to_string());
        // Byte by byte as far as the network goes along: answers arrive in pieces.
        for piece in reply.as_bytes().chunks(reply.len().div_ceil(8).max(1)) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let client = async {
        let mut connection = Connection::connect_with(addr, limits).await.unwrap();
        call(&mut connection).await
    };
    let (_stream, result) = tokio::join!(server, client);
    result
}

/// `call` sends `sent`, and `reply` means `expected`.
async fn check<T: PartialEq + std::fmt::Debug>(
    sent: &str,
    reply: &str,
    call: impl AsyncFnOnce(&mut Connection) -> Result<T, Error>,
    expected: T,
) {
    let limits = Limits { deadline: Duration::from_secs(10), ..Limits::default() };
    let result = with_server(sent, reply, limits, call).await;
    assert_eq!(result.unwrap(), expected, "{sent:?} answered by {reply:?}");
}

fn value(key: &'static str, bytes: &'static str, flags: u32, cas: Option<u64>) -> Value {
    Value { key: key.into(), bytes: bytes.into(), flags, cas }
}

#[tokio::test]
async fn reads_give_the_values_there_are() {
    let hit = "VALUE k 5 3\r\nabc\r\nEND\r\n";
    check("get k\r\n", hit, async |c| c.get(b"k").await, Some(value("k", "abc", 5, None))).await;
    check("get k\r\n", "END\r\n", async |c| c.get(b"k").await, None).await;
    let hit = "VALUE k 5 5 77\r\nEND\r\n\r\nEND\r\n";
    check("gets k\r\n", hit, async |c| c.gets(b"k").await, Some(value("k", "END\r\n", 5, Some(77)))).await;
    check("gats 60 k\r\n", hit, async |c| c.get_and_touch(b"k", 60).await, Some(value("k", "END\r\n", 5, Some(77))))
        .await;
    let hits = "VALUE a 0 1\r\nx\r\nVALUE c 0 0\r\n\r\nVALUE a 0 1\r\nx\r\nEND\r\n";
    let expected = vec![value("a", "x", 0, None), value("c", "", 0, None), value("a", "x", 0, None)];
    check("get a b c a\r\n", hits, async |c| c.get_many(&["a", "b", "c", "a"]).await, expected).await;
    check("gets a b\r\n", "END\r\n", async |c| c.gets_many(&["a", "b"]).await, Vec::new()).await;
}

#[tokio::test]
async fn stores_say_whether_they_stored() {
    check("set k 5 60 3\r\nabc\r\n", "STORED\r\n", async |c| c.set(b"k", b"abc", 5, 60).await, ()).await;
    check("add k 0 0 1\r\nx\r\n", "STORED\r\n", async |c| c.add(b"k", b"x", 0, 0).await, true).await;
    check("add k 0 0 1\r\nx\r\n", "NOT_STORED\r\n", async |c| c.add(b"k", b"x", 0, 0).await, false).await;
    check("replace k 0 -1 0\r\n\r\n", "STORED\r\n", async |c| c.replace(b"k", b"", 0, -1).await, true).await;
    check("append k 0 0 1\r\nx\r\n", "NOT_STORED\r\n", async |c| c.append(b"k", b"x").await, false).await;
    check("prepend k 0 0 1\r\nx\r\n", "STORED\r\n", async |c| c.prepend(b"k", b"x").await, true).await;
    for (reply, outcome) in
        [("STORED", CasOutcome::Stored), ("EXISTS", CasOutcome::Exists), ("NOT_FOUND", CasOutcome::NotFound)]
    {
        let reply = format!("{reply}\r\n");
        check("cas k 1 2 1 9\r\nx\r\n", &reply, async |c| c.cas(b"k", b"x", 1, 2, 9).await, outcome).await;
    }
}

#[tokio::test]
async fn the_other_calls_say_what_they_found() {
    check("incr k 5\r\n", "12\r\n", async |c| c.increase(b"k", 5).await, Some(12)).await;
    check("decr k 5\r\n", "NOT_FOUND\r\n", async |c| c.decrease(b"k", 5).await, None).await;
    check("touch k 60\r\n", "TOUCHED\r\n", async |c| c.touch(b"k", 60).await, true).await;
    check("touch k 60\r\n", "NOT_FOUND\r\n", async |c| c.touch(b"k", 60).await, false).await;
    check("delete k\r\n", "DELETED\r\n", async |c| c.delete(b"k").await, true).await;
    check("delete k\r\n", "NOT_FOUND\r\n", async |c| c.delete(b"k").await, false).await;
    check("flush_all\r\n", "OK\r\n", async |c| c.flush_all(None).await, ()).await;
    check("flush_all 10\r\n", "OK\r\n", async |c| c.flush_all(Some(10)).await, ()).await;
    check("version\r\n", "VERSION 1.6.45\r\n", async |c| c.version().await, "1.6.45".to_owned()).await;
    let stats = vec![("pid".to_owned(), "1".to_owned()), ("inter".to_owned(), String::new())];
    check("stats\r\n", "STAT pid 1\r\nSTAT inter \r\nEND\r\n", async |c| c.stats("").await, stats).await;
    check("stats reset\r\n", "RESET\r\n", async |c| c.stats("reset").await, Vec::new()).await;
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order_with_its_errors_in_place() {
    let mut pipeline = Pipeline::new();
    pipeline.store(StoreVerb::Set, b"a", b"1", 0, 0).unwrap();
    pipeline.arithmetic(Direction::Increase, b"a", 1).unwrap();
    assert!(matches!(pipeline.delete(b"two words"), Err(Error::InvalidKey)));
    pipeline.arithmetic(Direction::Increase, b"b", 1).unwrap();
    pipeline.store(StoreVerb::Set, b"c", b"x", 0, 0).unwrap();
    pipeline.get(&["a", "b"], false).unwrap();
    assert_eq!(pipeline.len(), 5);
    let sent = "set a 0 0 1\r\n1\r\nincr a 1\r\nincr b 1\r\nset c 0 0 1\r\nx\r\nget a b\r\n";
    let reply = "STORED\r\n2\r\nCLIENT_ERROR cannot increment\r\nSERVER_ERROR no quorum\r\nVALUE a 0 1\r\n2\r\nEND\r\n";
    let expected = vec![
        Answer::Stored,
        Answer::Number(2),
        Answer::Refused("cannot increment".to_owned()),
        Answer::Failed("no quorum".to_owned()),
        Answer::Values(vec![value("a", "2", 0, None)]),
    ];
    check(sent, reply, async |c| c.run(&pipeline).await, expected).await;
}

/// How a `set` fails on this reply, and whether it says it may have been applied and the connection is of further use.
async fn check_failure(reply: &str, expected: &str, may_have_been_applied: bool, is_in_step: bool) {
    let limits = Limits { deadline: Duration::from_millis(50), answer_bytes_max: 100, ..Limits::default() };
    let call = async |connection: &mut Connection| {
        let error = connection.set(b"k", b"x", 0, 0).await.unwrap_err();
        (error, connection.is_in_step())
    };
    let (error, in_step) = with_server("set k 0 0 1\r\nx\r\n", reply, limits, call).await;
    assert_eq!(error.to_string(), expected, "{reply:?}");
    assert_eq!(error.may_have_been_applied(), may_have_been_applied, "{error}");
    assert_eq!(in_step, is_in_step, "{error}");
}

#[tokio::test]
async fn failures_say_whether_the_operation_may_have_been_applied() {
    check_failure("CLIENT_ERROR bad\r\n", "the server refused the request: bad", false, true).await;
    check_failure("ERROR\r\n", "the server refused the request: ERROR", false, true).await;
    check_failure("SERVER_ERROR no quorum\r\n", "the server failed: no quorum", true, true).await;
    check_failure("STOR", "no answer within 50ms", true, false).await;
    check_failure("", "no answer within 50ms", true, false).await;
    check_failure("HTTP/1.1 400\r\n", "the server answered out of protocol: HTTP/1.1 400\\r\\n", true, false).await;
    check_failure(
        "DELETED\r\n",
        "the server answered out of protocol: Deleted does not answer the request",
        true,
        false,
    )
    .await;
    check_failure("END\r\n", "the server answered out of protocol: End where Line was due", true, false).await;
}

#[tokio::test]
async fn a_value_of_another_key_is_not_believed() {
    let limits = Limits { deadline: Duration::from_secs(10), ..Limits::default() };
    let call = async |connection: &mut Connection| {
        let first = connection.get(b"k").await.unwrap_err();
        (first, connection.get(b"k").await.unwrap_err())
    };
    let (first, second) = with_server("get k\r\n", "VALUE x 0 1\r\ny\r\nEND\r\n", limits, call).await;
    assert!(matches!(first, Error::OutOfProtocol(_)), "{first:?}");
    assert!(matches!(second, Error::OutOfStep) && !second.may_have_been_applied(), "{second:?}");
}

#[tokio::test]
async fn buffers_are_bounded_both_ways() {
    let limits = Limits { answer_bytes_max: 1000, request_bytes_max: 100, ..Limits::default() };
    let call = async |connection: &mut Connection| {
        let too_large = connection.set(b"k", &[b'x'; 100], 0, 0).await.unwrap_err();
        assert!(matches!(too_large, Error::RequestTooLarge { bytes: 117, bytes_max: 100 }), "{too_large:?}");
        assert!(!too_large.may_have_been_applied() && connection.is_in_step());
        connection.get(b"k").await.unwrap_err()
    };
    // Refused by what is announced: no byte of the value is sent.
    let error = with_server("get k\r\n", "VALUE k 0 2000000000\r\n", limits, call).await;
    assert!(matches!(error, Error::AnswerTooLarge { bytes_max: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_connection_and_a_dropped_call_leave_no_way_to_mistake_a_reply() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = Connection::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    tokio::select! {
        biased;
        _ = connection.version() => panic!("nobody has answered"),
        () = tokio::task::yield_now() => {}
    }
    stream.write_all(b"VERSION 1\r\n").await.unwrap();
    assert!(matches!(connection.version().await, Err(Error::OutOfStep)));

    let mut connection = Connection::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    drop(stream);
    let error = connection.version().await.unwrap_err();
    assert!(matches!(error, Error::Closed | Error::Broken(_)) && error.may_have_been_applied(), "{error:?}");

    let addr = listener.local_addr().unwrap();
    drop(listener);
    let error = Connection::connect(addr).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)) && !error.may_have_been_applied(), "{error:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_said_is_not_sent() {
    let mut pipeline = Pipeline::new();
    for key in [&b""[..], b"a b", b"a\r\nflush_all", &[b'k'; 251]] {
        assert!(matches!(pipeline.get(&[key], false), Err(Error::InvalidKey)), "{}", key.escape_ascii());
        assert!(matches!(pipeline.store(StoreVerb::Set, key, b"", 0, 0), Err(Error::InvalidKey)));
        assert!(matches!(pipeline.touch(key, 0), Err(Error::InvalidKey)));
    }
    assert!(matches!(pipeline.get::<&[u8]>(&[], false), Err(Error::InvalidRequest(_))));
    assert!(matches!(pipeline.stats("a\r\nflush_all"), Err(Error::InvalidRequest(_))));
    assert!(pipeline.is_empty());
}

#[tokio::test]
async fn a_pipeline_larger_than_both_socket_buffers_does_not_lock_up() {
    const REQUESTS: usize = 200_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    // Answers as it reads and reads no further than it has answered, as a server with bounded buffers does.
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = vec![0; 7 * 1000];
        for _ in 0..REQUESTS / 1000 {
            stream.read_exact(&mut piece).await.unwrap();
            stream
                .write_all(
                    "VALUE k 0 40\r\n0123456789012345678901234567890123456789\r\nEND\r\n".repeat(1000).as_bytes(),
                )
                .await
                .unwrap();
        }
    };
    let client = async {
        let limits = Limits { deadline: Duration::from_secs(60), ..Limits::default() };
        let mut connection = Connection::connect_with(addr, limits).await.unwrap();
        let mut pipeline = Pipeline::new();
        (0..REQUESTS).for_each(|_| pipeline.get(&["k"], false).unwrap());
        connection.run(&pipeline).await.unwrap().len()
    };
    let ((), answers) = tokio::join!(server, client);
    assert_eq!(answers, REQUESTS);
}
