module github.com/parley-go/parley/models/moonshine

go 1.26.0
