"""How channel surgery knows which channels belong together (notebook 05).

Every index of every parameter axis gets a *tag*, an integer. The network's own forward is run on
tensors that hold tags where activations would be. An operation that only moves data (a reshape,
a concatenation, a channel shuffle) is executed on the tags as it is. An operation that combines
channels says one of two things: these tags are one channel (a *tie*), or this tag may not go (it is
*fixed*). An operation without a rule fixes all it touches. The steps are written down, to hold the
cut network against the whole one.

Attention mixes the channels of a head, so a head is one channel: what a first pass finds to be
mixed gets one tag from the start in a second pass. Numbers of modules, such as `num_heads`, follow
the width they name, and heads keep in proportion to the channels they read where a forward reckons
so.

A convolution in groups gets narrower inside each of them: all groups lose the same positions, and
stay as many. Whole groups go where a group reads or writes one channel, as depthwise, or where the
same positions would be all channels at once.

Each file needs only those before it:

| file | job |
|---|---|
| `tags` | the tensor of tags, and what can be asked of one |
| `findings` | what a pass through the network finds out: ties, fixed tags, steps |
| `again` | what a rule has found out about equal arguments, which it is not asked twice |
| `numbers` | attributes by which modules say how wide they are |
| `rules` | a function for each kind of operation; **add one here**, or in the next six |
| `moves`, `averages`, `layers`, `normalization`, `attention`, `recurrent` | the rules, by kind |
| `following` | runs the forward on tags and gives every operation to its rule |
| `passes` | follows a network, twice where it has heads, and joins the tags that are one |
| `cut` | narrows tensors, and what modules say of their widths |
| `rehearsal` | runs the cut network on the tags that are left |
| `plan` | units and groups, which of them stay, and the cut as a whole |
| `reasons` | refusals, layers left alone, and the table, in words |
| `choice` | scores, and which units of the groups go |
| `amounts` | how much goes: ratios by layers, caps, and targets |
| `within` | a part of a network, with the inputs that it really receives |
| `sensitivity` | accuracy after each group alone is cut |
| `stored` | files of networks that were cut |
"""
