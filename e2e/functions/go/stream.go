package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// Answers in pieces; the words that `stream` (in Rust) knows go wrong in the middle of it.
func stream(_ context.Context, event events.KafkaEvent) (io.Reader, error) {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(write(writer, event)) }()
	return reader, nil
}

func write(writer io.Writer, event events.KafkaEvent) error {
	separator := `{"records":[`
	var after error
	for _, partition := range event.Records {
		for _, record := range partition {
			key, err := text(record.Key)
			if err != nil {
				return err
			}
			value, err := text(record.Value)
			if err != nil {
				return err
			}
			piece, err := json.Marshal(output{Key: key, Value: value})
			if err != nil {
				return err
			}
			if _, err := writer.Write(append([]byte(separator), piece...)); err != nil {
				return err
			}
			separator = ","
			switch {
			case strings.Contains(value, "poison"):
				after = Poisoned{value}
			case strings.Contains(value, "exit"):
				time.Sleep(20 * time.Millisecond)
				os.Exit(7)
			case strings.Contains(value, "large"):
				if _, err := writer.Write([]byte(strings.Repeat(" ", 7<<20))); err != nil {
					return err
				}
			}
		}
	}
	if after != nil {
		return after
	}
	_, err := writer.Write([]byte("]}"))
	return err
}
