//! The words of the protocol that both sides must spell alike.
//!
//! Must not know what the words mean: that is `grammar`, `response` and `reply`.

pub(super) const GET: &[u8] = b"get";
pub(super) const GETS: &[u8] = b"gets";
pub(super) const GAT: &[u8] = b"gat";
pub(super) const GATS: &[u8] = b"gats";
pub(super) const SET: &[u8] = b"set";
pub(super) const ADD: &[u8] = b"add";
pub(super) const REPLACE: &[u8] = b"replace";
pub(super) const APPEND: &[u8] = b"append";
pub(super) const PREPEND: &[u8] = b"prepend";
pub(super) const CAS: &[u8] = b"cas";
pub(super) const INCR: &[u8] = b"incr";
pub(super) const DECR: &[u8] = b"decr";
pub(super) const TOUCH: &[u8] = b"touch";
pub(super) const DELETE: &[u8] = b"delete";
pub(super) const FLUSH_ALL: &[u8] = b"flush_all";
pub(super) const FLUSH_OVER: &[u8] = b"flush_over";
pub(super) const VERSION: &[u8] = b"version";
pub(super) const VERBOSITY: &[u8] = b"verbosity";
pub(super) const STATS: &[u8] = b"stats";
pub(super) const SHUTDOWN: &[u8] = b"shutdown";
pub(super) const CACHE_MEMLIMIT: &[u8] = b"cache_memlimit";
pub(super) const LRU: &[u8] = b"lru";
pub(super) const LRU_CRAWLER: &[u8] = b"lru_crawler";
pub(super) const SLABS: &[u8] = b"slabs";
pub(super) const WATCH: &[u8] = b"watch";
pub(super) const CONFIG: &[u8] = b"config";
pub(super) const META_GET: &[u8] = b"mg";
pub(super) const META_SET: &[u8] = b"ms";
pub(super) const META_DELETE: &[u8] = b"md";
pub(super) const META_ARITHMETIC: &[u8] = b"ma";
pub(super) const QUIT: &[u8] = b"quit";
pub(super) const GRACEFUL: &[u8] = b"graceful";
pub(super) const NOREPLY: &[u8] = b"noreply";

pub(super) const STORED: &[u8] = b"STORED";
pub(super) const NOT_STORED: &[u8] = b"NOT_STORED";
pub(super) const EXISTS: &[u8] = b"EXISTS";
pub(super) const NOT_FOUND: &[u8] = b"NOT_FOUND";
pub(super) const DELETED: &[u8] = b"DELETED";
pub(super) const TOUCHED: &[u8] = b"TOUCHED";
pub(super) const OK: &[u8] = b"OK";
pub(super) const END: &[u8] = b"END";
pub(super) const META_NOOP_REPLY: &[u8] = b"MN";
pub(super) const RESET: &[u8] = b"RESET";
pub(super) const VALUE_SPACE: &[u8] = b"VALUE ";
pub(super) const CONFIG_SPACE: &[u8] = b"CONFIG ";
pub(super) const META_VALUE_SPACE: &[u8] = b"VA ";
pub(super) const STAT_SPACE: &[u8] = b"STAT ";
pub(super) const VERSION_SPACE: &[u8] = b"VERSION ";
pub(super) const ERROR: &[u8] = b"ERROR";
pub(super) const CLIENT_ERROR: &[u8] = b"CLIENT_ERROR";
pub(super) const SERVER_ERROR: &[u8] = b"SERVER_ERROR";
pub(super) const CRLF: &[u8] = b"\r\n";
