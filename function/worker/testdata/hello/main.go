// Command hello is the least Lambda function in Go; the benchmark starts it.
package main

import "github.com/aws/aws-lambda-go/lambda"

func main() { lambda.Start(func() (int, error) { return 1, nil }) }
