package turn

import "github.com/parley-go/parley/turn/driver"

// English returns the driver behind NewText.
func English() driver.TextDetector { return english{} }
