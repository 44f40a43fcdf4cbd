//! The memcached text protocol, once, for server and client.
