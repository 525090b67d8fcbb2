module github.com/parley-go/parley/models/silero

go 1.26.0
