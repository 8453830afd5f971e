// The sandbox image's only program: standard library alone, so there is no go.sum.
module corefit.dev/devcluster/pause

go 1.26.0
