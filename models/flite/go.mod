module github.com/parley-go/parley/models/flite

go 1.26.0
