#define _GNU_SOURCE
#include "echoes.h"

#include <string.h>

/* Another value for every call of every client: nobody can be given the answer of another. */
static uint64_t seq_of(const struct client *client, uint64_t id)
{
    return id * (uint64_t)client_count + (uint64_t)client->number;
}

size_t put_call(uint8_t *to, const struct client *client, struct slot *slot, uint64_t id)
{
    static char text[2 * MAX_FRAME], value[2 * MAX_FRAME];
    slot->id = id;
    slot->at = now();
    slot->pad = write_message(value, seq_of(client, id), slot->at, 0, options.frame_bytes);
    return put_frame(to, 1, text, write_text(text, dialect->echo, id, 0, value));
}

uint64_t take_echo(const struct client *client, struct slot *slot, uint64_t id, const char *text,
                   size_t bytes, uint64_t received)
{
    const char *pad = value_of("\"pad\":", text, bytes);
    if (!slot->id || slot->id != id)
        refuse(client, "no such answer", text, bytes);
    if (number_of("\"seq\":", text, bytes) != seq_of(client, id) ||
        number_of("\"at\":", text, bytes) != slot->at || *pad != '"' ||
        (int)strspn(pad + 1, "x") != slot->pad || pad[slot->pad + 1] != '"')
        refuse(client, "an echo of what was sent", text, bytes);
    slot->id = 0;
    return received - slot->at;
}
