package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"
)

// confirmWindow is how many messages a publisher has on the way before it waits for a confirm, and how
// many a consumer has before it has to acknowledge.
const confirmWindow = 1000

// rabbitRate sends persistent messages through a queue one by one, for a while and then until it is
// empty: each is published, confirmed, consumed and acknowledged.
func rabbitRate(url, kind string) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, d time.Duration) (rate float64, err error) {
		queue := "raw-" + kind
		publisher, closePublisher, err := openChannel(url)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, closePublisher()) }()
		if _, err := publisher.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind}); err != nil {
			return 0, err
		}
		defer func() {
			_, deleted := publisher.QueueDelete(queue, false, false, false)
			err = errors.Join(err, deleted)
		}()
		consumer, closeConsumer, err := openChannel(url)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, closeConsumer()) }()
		return throughQueue(ctx, publisher, consumer, queue, d)
	}
}

func openChannel(url string) (*amqp.Channel, func() error, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, err
	}
	channel, err := conn.Channel()
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return channel, conn.Close, nil
}

func throughQueue(ctx context.Context, publisher, consumer *amqp.Channel, queue string, d time.Duration) (float64, error) {
	if err := errors.Join(publisher.Confirm(false), consumer.Qos(confirmWindow, 0, false)); err != nil {
		return 0, err
	}
	deliveries, err := consumer.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	published := make(chan int, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return publishFor(ctx, publisher, queue, d, published) })
	group.Go(func() error { return acknowledgeAll(ctx, deliveries, published) })
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return float64(<-published) / time.Since(began).Seconds(), nil
}

// publishFor publishes for a while and then says how many messages it were, all of them confirmed.
func publishFor(ctx context.Context, channel *amqp.Channel, queue string, d time.Duration, published chan<- int) error {
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(rowBody())}
	waiting := make(chan *amqp.DeferredConfirmation, confirmWindow)
	n := 0
	for began := time.Now(); time.Since(began) < d; n++ {
		if len(waiting) == cap(waiting) {
			if err := awaitConfirm(ctx, <-waiting); err != nil {
				return err
			}
		}
		confirm, err := channel.PublishWithDeferredConfirm("", queue, false, false, message)
		if err != nil {
			return err
		}
		waiting <- confirm
	}
	for len(waiting) > 0 {
		if err := awaitConfirm(ctx, <-waiting); err != nil {
			return err
		}
	}
	published <- n
	return nil
}

func awaitConfirm(ctx context.Context, confirm *amqp.DeferredConfirmation) error {
	confirmed, err := confirm.WaitContext(ctx)
	if err == nil && !confirmed {
		err = fmt.Errorf("message %d was refused", confirm.DeliveryTag)
	}
	return err
}

// acknowledgeAll acknowledges messages until it has had as many as were published. It hands that number on.
func acknowledgeAll(ctx context.Context, deliveries <-chan amqp.Delivery, published chan int) error {
	total := -1
	for n := 0; n != total; {
		select {
		case delivery, open := <-deliveries:
			if !open {
				return errors.New("the channel of the consumer was closed")
			}
			if err := delivery.Ack(false); err != nil {
				return err
			}
			n++
		case total = <-published:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	published <- total
	return nil
}
