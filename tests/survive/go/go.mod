module memring.dev/survive

go 1.23

require (
	github.com/cespare/xxhash/v2 v2.3.0
	github.com/grafana/gomemcache v0.0.0-20251127154401-74f93547077b
)
