package pod

import (
	"os"
	"os/signal"
	"syscall"
)

func notify(told chan os.Signal) { signal.Notify(told, syscall.SIGTERM) }
