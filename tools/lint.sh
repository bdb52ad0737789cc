#!/bin/bash
# Checks every module given (folders): golangci-lint with the top's .golangci.yml, gofumpt, and go.mod against the imports. All findings
# are shown before it fails.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
bin=$top/bin/tools
failed=0
fail() {
	echo "lint: $1" >&2
	failed=1
}
for module in "$@"; do
	cd "$top/$module" || exit 1
	"$bin/golangci-lint" run --config "$top/.golangci.yml" ./... || fail "golangci-lint in $module"
	# test/kube is a module of its own: it is formatted, but not linted with the others.
	unformatted=$(git ls-files '*.go' | xargs -r "$bin/gofumpt" -l)
	[ -z "$unformatted" ] || fail "gofumpt would change in $module: $unformatted"
	GOWORK=off go mod tidy -diff || fail "go.mod or go.sum of $module is not tidy"
done
cd "$top/test/kube" && { GOWORK=off go mod tidy -diff || fail "go.mod or go.sum of test/kube is not tidy"; }
exit $failed
