// The function that the conformance tests run in each language, on AWS's Go client.
package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type output struct {
	Key     string            `json:"key"`
	Value   string            `json:"value"`
	Headers map[string]string `json:"headers,omitempty"`
}

// Poisoned is the error's type on Lambda: the client takes the name of the Go type.
type Poisoned struct{ value string }

func (p Poisoned) Error() string { return fmt.Sprintf("the function does not like `%s`", p.value) }

// How many events this process works on: more than one under AWS_LAMBDA_MAX_CONCURRENCY.
var inFlight atomic.Int32

func answer(ctx context.Context, event events.KafkaEvent) (any, error) {
	beside := inFlight.Add(1)
	defer inFlight.Add(-1)
	lambdaContext, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	headers := map[string]string{
		"function":  lambdacontext.FunctionName,
		"request":   lambdaContext.AwsRequestID,
		"remaining": strconv.FormatInt(time.Until(deadline).Milliseconds(), 10),
		"process":   strconv.Itoa(os.Getpid()),
		"in-flight": strconv.FormatInt(int64(beside), 10),
	}
	if pause, err := strconv.Atoi(os.Getenv("SLEEP_MS")); err == nil {
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	records := []output{}
	for _, partition := range event.Records {
		for _, record := range partition {
			key, err := text(record.Key)
			if err != nil {
				return nil, err
			}
			value, err := text(record.Value)
			if err != nil {
				return nil, err
			}
			switch {
			case strings.Contains(value, "poison"):
				return nil, Poisoned{value}
			case strings.Contains(value, "sleep"):
				time.Sleep(10 * time.Minute)
			case strings.Contains(value, "exit"):
				os.Exit(7)
			case strings.Contains(value, "panic"):
				panic(Poisoned{value})
			case strings.Contains(value, "index"):
				_ = records[len(records)+1]
			case strings.Contains(value, "large"):
				value = strings.Repeat("x", 7<<20)
			case strings.Contains(value, "shape"):
				return map[string]any{"record": []output{}}, nil
			}
			records = append(records, output{key, value, headers})
		}
	}
	return map[string]any{"records": records}, nil
}

func text(encoded string) (string, error) {
	bytes, err := base64.StdEncoding.DecodeString(encoded)
	return string(bytes), err
}

func main() {
	if os.Getenv("STREAM") != "" {
		lambda.Start(stream)
	}
	lambda.Start(answer)
}
