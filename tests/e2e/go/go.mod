module memring.dev/e2e

go 1.23

require (
	github.com/bradfitz/gomemcache v0.0.0-20260422231931-4d751bb6e37c
	github.com/grafana/gomemcache v0.0.0-20251127154401-74f93547077b
)
