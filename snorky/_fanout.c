/* Sends the same bytes to many sockets: the part of a fan-out that Python makes slow.
 *
 * Optional: snorky/fanout.py does the same without it. Knows only what it is told of a connection,
 * which is an object with
 *   descriptor   its socket's file descriptor, negative where bytes must not go past the transport
 *   closing      true once nothing may be sent any more
 *   transport    with asyncio's get_write_buffer_size() and is_closing()
 * A socket is written to only while its transport has nothing waiting, so that nothing is
 * overtaken; what a socket does not take at once is left to the transport.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: Python ignores SIGPIPE */
#endif

static PyObject *descriptor_name, *closing_name, *transport_name;
static PyObject *buffer_size_name, *is_closing_name;

/* Thousands of connections are in no cache when their turn comes. Asking for them early takes two
 * thirds of the wait away: 4 % of a fan-out that cannot join anything was the first look at each. */
#define AHEAD 8
#define CACHE_LINE 64
#define CONNECTION_BYTES 256

static void fetch(const void *object)
{
    for (int offset = 0; offset < CONNECTION_BYTES; offset += CACHE_LINE)
        __builtin_prefetch((const char *)object + offset);
}

/* 1, 0, or -1 with an exception set. Takes the reference to `value`, which may be NULL. */
static int is_true_and_done(PyObject *value)
{
    if (!value)
        return -1;
    int truth = PyObject_IsTrue(value);
    Py_DECREF(value);
    return truth;
}

/* Puts the descriptor to write to into `descriptor`, -1 where the transport has to do it. */
static int find_descriptor(PyObject *connection, int *descriptor)
{
    int truth = is_true_and_done(PyObject_GetAttr(connection, closing_name));
    *descriptor = -1;
    if (truth)
        return truth < 0 ? -1 : 0;
    PyObject *number = PyObject_GetAttr(connection, descriptor_name);
    if (!number)
        return -1;
    long found = PyLong_AsLong(number);
    Py_DECREF(number);
    if (found == -1 && PyErr_Occurred())
        return -1;
    if (found < 0)
        return 0;
    PyObject *transport = PyObject_GetAttr(connection, transport_name);
    if (!transport)
        return -1;
    truth = is_true_and_done(PyObject_CallMethodObjArgs(transport, buffer_size_name, NULL));
    if (!truth)
        truth = is_true_and_done(PyObject_CallMethodObjArgs(transport, is_closing_name, NULL));
    Py_DECREF(transport);
    if (!truth)
        *descriptor = (int)found;
    return truth < 0 ? -1 : 0;
}

/* A list of (connection, bytes sent) for the sockets that did not take everything. */
static PyObject *unfinished(PyObject *connections, const Py_ssize_t *sent, Py_ssize_t bytes)
{
    PyObject *left = PyList_New(0);
    Py_ssize_t count = PyList_Size(connections);
    for (Py_ssize_t i = 0; left && i < count; i++) {
        if (sent[i] == bytes)
            continue;
        PyObject *pair = Py_BuildValue("(On)", PyList_GetItem(connections, i), sent[i]);
        if (!pair || PyList_Append(left, pair))
            Py_CLEAR(left);
        Py_XDECREF(pair);
    }
    return left;
}

PyDoc_STRVAR(send_to_all_doc,
"send_to_all(connections, data)\n--\n\n"
"Send data to the sockets of connections, as far as they take it without waiting.\n\n"
"Returns a list of (connection, bytes sent) for those that have not taken all of it: a failed or\n"
"full socket, one with output waiting, one that may only be written to by its transport.");

static PyObject *send_to_all(PyObject *module, PyObject *arguments)
{
    PyObject *iterable, *payload, *result = NULL;
    char *data;
    Py_ssize_t bytes;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OS:send_to_all", &iterable, &payload) ||
        PyBytes_AsStringAndSize(payload, &data, &bytes))
        return NULL;
    PyObject *connections = PySequence_List(iterable);
    if (!connections)
        return NULL;
    Py_ssize_t count = PyList_Size(connections);
    int *descriptors = PyMem_Malloc((size_t)(count ? count : 1) * sizeof *descriptors);
    Py_ssize_t *sent = PyMem_Calloc((size_t)(count ? count : 1), sizeof *sent);
    if (!descriptors || !sent) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            fetch(PyList_GetItem(connections, i + AHEAD));
        if (find_descriptor(PyList_GetItem(connections, i), &descriptors[i]))
            goto done;
    }
    /* Only this thread, which runs the connections' event loop, closes their sockets. */
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        if (descriptors[i] < 0)
            continue;
        ssize_t taken;
        do
            taken = send(descriptors[i], data, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (taken < 0 && errno == EINTR);
        sent[i] = taken < 0 ? 0 : taken; /* the transport will meet the same error */
    }
    Py_END_ALLOW_THREADS
    result = unfinished(connections, sent, bytes);
done:
    PyMem_Free(descriptors);
    PyMem_Free(sent);
    Py_DECREF(connections);
    return result;
}

static int prepare(PyObject *module)
{
    (void)module;
    descriptor_name = PyUnicode_InternFromString("descriptor");
    closing_name = PyUnicode_InternFromString("closing");
    transport_name = PyUnicode_InternFromString("transport");
    buffer_size_name = PyUnicode_InternFromString("get_write_buffer_size");
    is_closing_name = PyUnicode_InternFromString("is_closing");
    return descriptor_name && closing_name && transport_name && buffer_size_name &&
                   is_closing_name
               ? 0
               : -1;
}

static PyMethodDef methods[] = {
    {"send_to_all", send_to_all, METH_VARARGS, send_to_all_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "snorky._fanout",
    .m_doc = "Sending the same bytes to many sockets.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fanout(void)
{
    return PyModuleDef_Init(&definition);
}
