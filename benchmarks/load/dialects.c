#define _GNU_SOURCE
#include "dialects.h"
#include "tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool starts(const char *text, size_t bytes, const char *with)
{
    return bytes >= strlen(with) && !memcmp(text, with, strlen(with));
}

static enum kind read_snorky(const char *text, size_t bytes, uint64_t *id, const char **reply)
{
    (void)reply;
    const char *type = value_of("\"type\":", text, bytes);
    *id = number_of("\"callId\":", text, bytes);
    return !strncmp(type, "\"message\"", 9) || !strncmp(type, "\"delta\"", 7) ? DELIVERY
           : !strncmp(type, "\"response\"", 10)                             ? ANSWER
                                                                            : UNEXPECTED;
}

/* Engine.IO's packet types come first, then those of Socket.IO. */
static enum kind read_socketio(const char *text, size_t bytes, uint64_t *id, const char **reply)
{
    if (starts(text, bytes, "0")) {
        *reply = "40";
        return HOUSEKEEPING;
    }
    if (starts(text, bytes, "2")) {
        *reply = "3";
        return HOUSEKEEPING;
    }
    if (starts(text, bytes, "43")) {
        *id = strtoull(text + 2, NULL, 10);
        return ANSWER;
    }
    return starts(text, bytes, "42") ? DELIVERY : starts(text, bytes, "40") ? WELCOME : UNEXPECTED;
}

/* A push has no id, a failed call has an error. */
static enum kind read_centrifuge(const char *text, size_t bytes, uint64_t *id, const char **reply)
{
    if (starts(text, bytes, "{}")) { /* a ping of later versions */
        *reply = "{}";
        return HOUSEKEEPING;
    }
    if (memmem(text, bytes, "\"error\":", 8))
        return UNEXPECTED;
    *id = number_of("\"id\":", text, bytes);
    return *id != UINT64_MAX ? ANSWER : DELIVERY;
}

static enum kind read_nchan(const char *text, size_t bytes, uint64_t *id, const char **reply)
{
    (void)reply;
    *id = UINT64_MAX;
    return starts(text, bytes, "{\"seq\":") ? DELIVERY : ANSWER;
}

static const struct dialect dialects[] = {
    {.name = "snorky",
     .path = "/ws",
     .subscribe = "{\"service\":\"pubsub\",\"message\":{\"command\":\"subscribe\","
                  "\"params\":{\"channel\":\"c$c\"},\"callId\":$i}}",
     .publish = "{\"service\":\"pubsub\",\"message\":{\"command\":\"publish\","
                "\"params\":{\"channel\":\"c$c\",\"message\":$m},\"callId\":$i}}",
     .echo = "{\"service\":\"echo\",\"message\":{\"command\":\"echo\","
             "\"params\":{\"value\":$m},\"callId\":$i}}",
     .delivery = "{\"service\":\"pubsub\",\"message\":{\"type\":\"message\","
                 "\"channel\":\"c$c\",\"message\":$m}}",
     .read = read_snorky},
    {.name = "socketio",
     .path = "/socket.io/?EIO=4&transport=websocket",
     .welcomes = true,
     .subscribe = "42$i[\"subscribe\",\"c$c\"]",
     .publish = "42$i[\"publish\",\"c$c\",$m]",
     .echo = "42$i[\"echo\",$m]",
     .delivery = "42[\"message\",$m]",
     .read = read_socketio},
    {.name = "centrifuge",
     .path = "/connection/websocket",
     .welcomes = true,
     .greeting = "{\"id\":1}",
     .subscribe = "{\"id\":$i,\"method\":1,\"params\":{\"channel\":\"c$c\"}}",
     .publish = "{\"id\":$i,\"method\":3,\"params\":{\"channel\":\"c$c\",\"data\":$m}}",
     .echo = "{\"id\":$i,\"method\":9,\"params\":{\"method\":\"echo\",\"data\":$m}}",
     .delivery = "{\"result\":{\"channel\":\"c$c\",\"data\":{\"data\":$m}}}\n",
     .lines = true,
     .read = read_centrifuge},
    {.name = "nchan",
     .path = "/sub/c$c",
     .publisher_path = "/pub/c$c",
     .publish = "$m",
     .delivery = "$m",
     .in_order = true,
     .read = read_nchan},
};

const struct dialect *dialect = dialects;

void choose_dialect(const char *name)
{
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (!strcmp(dialects[i].name, name)) {
            dialect = &dialects[i];
            return;
        }
    fail("there is no dialect %s", name);
}

size_t write_text(char *to, const char *text, uint64_t id, uint64_t channel, const char *message)
{
    char *end = to;
    for (const char *mark; (mark = strchr(text, '$')); text = mark + 2) {
        end = mempcpy(end, text, (size_t)(mark - text));
        if (mark[1] == 'm')
            end = stpcpy(end, message);
        else
            end += sprintf(end, "%llu", (unsigned long long)(mark[1] == 'i' ? id : channel));
    }
    return (size_t)(stpcpy(end, text) - to);
}

int write_message(char *to, uint64_t seq, uint64_t at, uint64_t channel, int frame_bytes)
{
    static char delivery[1024];
    char *start = to + sprintf(to, "{\"seq\":%llu,\"at\":%llu,\"pad\":\"", (unsigned long long)seq,
                               (unsigned long long)at);
    strcpy(start, "\"}");
    int header = frame_bytes > 2 + 125 ? 4 : 2;
    int pad = frame_bytes - header - (int)write_text(delivery, dialect->delivery, 0, channel, to);
    if (pad < 0)
        pad = 0;
    strcpy(memset(start, 'x', (size_t)pad) + (size_t)pad, "\"}");
    return pad;
}
