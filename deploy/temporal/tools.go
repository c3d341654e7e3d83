//go:build tools

// Package temporal pins the Temporal command line (server included) that the native system and the tests run.
package temporal

import _ "github.com/temporalio/cli/cmd/temporal"
