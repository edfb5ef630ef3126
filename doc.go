// Package ringbus moves messages between the processes and the virtual
// machines of one host through shared memory: no broker, no copies, no locks,
// in pure Go.
//
// A *bus* is one shared region with a name. A *node* is one participant of it:
//
//	node, err := ringbus.Open("demo", nil)
//
// On a *topic*, publishers send and subscribers receive; each subscriber sees
// each message:
//
//	pub, err := node.Publisher("greetings", nil)
//	err = pub.Send([]byte("hello, world"))
//
//	sub, err := node.Subscriber("greetings", nil)
//	for msg, err := range sub.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%s\n", msg.Data()) // valid until the loop turns
//	}
//
// A *service* answers calls: any number of clients, any number of servers that
// share the calls among them:
//
//	service, err := node.Service("up", nil)
//	for req, err := range service.Requests(ctx) {
//		if err != nil {
//			return err
//		}
//		err = req.Reply(bytes.ToUpper(req.Data()))
//	}
//
//	client, err := node.Client("up", nil)
//	n, err := client.Call(ctx, []byte("hello"), reply)
//
// Nothing has to be started first and nothing removed afterwards. A process
// may be killed at any instruction: what it held is taken back by the others,
// and what it sent stays.
//
// # Loans
//
// [Publisher.Loan] lends memory of the topic: fill it, send it, and nothing is
// copied. A [Message] is lent to its subscriber: its bytes are good until
// [Message.Release], or until the body of the range loop ends. Use after the
// end of a loan panics where it can be seen: in Data, Send, Release. A slice
// kept from Data is the caller's mistake, and shows another message's bytes;
// builds with the tag "invariants" poison it.
//
// # Delivery
//
// A *reliable* subscriber gets every message that is sent while it is there; a
// publisher waits for it. A *latest* subscriber is passed over when it is too
// slow, and told exactly how many messages it lost. Both kinds may share a
// topic. Late subscribers can ask for history. All of it is described in
// docs/format.md and docs/models.
package ringbus
