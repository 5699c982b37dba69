/* Sends the same bytes to many sockets: the part of a fan-out that Python makes slow.
 *
 * Optional: snorky/fanout.py does the same without it. Knows only what it is told of a connection,
 * which is an object with
 *   descriptor   its socket's file descriptor, negative where bytes must not go past the transport
 *   closing      true once nothing may be sent any more
 *   transport    with asyncio's get_write_buffer_size() and is_closing()
 *   may_wait     true where something was given to the transport since it was last found empty;
 *                set to False here
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

static PyObject *descriptor_name, *closing_name, *transport_name, *may_wait_name;
static PyObject *buffer_size_name, *is_closing_name;

/* Thousands of connections are in no cache when their turn comes. Asking for them early, and for
 * their transports once they are there, takes most of the wait away. */
#define AHEAD 8
#define CACHE_LINE 64
#define OBJECT_BYTES 256

static void fetch(const void *object)
{
    for (int offset = 0; offset < OBJECT_BYTES; offset += CACHE_LINE)
        __builtin_prefetch((const char *)object + offset);
}

/* 0, or -1 with an exception set. */
static int fetch_ahead(PyObject *connections, Py_ssize_t i, Py_ssize_t count)
{
    if (i + 2 * AHEAD < count)
        fetch(PyList_GetItem(connections, i + 2 * AHEAD));
    if (i + AHEAD >= count)
        return 0;
    PyObject *transport =
        PyObject_GetAttr(PyList_GetItem(connections, i + AHEAD), transport_name);
    if (!transport)
        return -1;
    fetch(transport);
    Py_DECREF(transport);
    return 0;
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

static int attribute_is_true(PyObject *object, PyObject *name)
{
    return is_true_and_done(PyObject_GetAttr(object, name));
}

static int method_is_true(PyObject *object, PyObject *name)
{
    return is_true_and_done(PyObject_CallMethodObjArgs(object, name, NULL));
}

/* 1 where the transport has to be asked to write, because it has something waiting or is closing;
 * 0, or -1 with an exception set. */
static int is_up_to_transport(PyObject *connection)
{
    PyObject *transport = PyObject_GetAttr(connection, transport_name);
    if (!transport)
        return -1;
    int truth = attribute_is_true(connection, may_wait_name);
    if (truth > 0) {
        truth = method_is_true(transport, buffer_size_name);
        if (!truth)
            truth = PyObject_SetAttr(connection, may_wait_name, Py_False);
    }
    if (!truth)
        truth = method_is_true(transport, is_closing_name);
    Py_DECREF(transport);
    return truth;
}

/* Puts the descriptor to write to into `descriptor`, -1 where the transport has to do it. */
static int find_descriptor(PyObject *connection, int *descriptor)
{
    *descriptor = -1;
    PyObject *number = PyObject_GetAttr(connection, descriptor_name);
    if (!number)
        return -1;
    long found = PyLong_AsLong(number);
    Py_DECREF(number);
    if (found == -1 && PyErr_Occurred())
        return -1;
    int truth = found < 0 ? 1 : attribute_is_true(connection, closing_name);
    if (!truth)
        truth = is_up_to_transport(connection);
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
    for (Py_ssize_t i = 0; i < count; i++)
        if (fetch_ahead(connections, i, count) ||
            find_descriptor(PyList_GetItem(connections, i), &descriptors[i]))
            goto done;
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
    may_wait_name = PyUnicode_InternFromString("may_wait");
    buffer_size_name = PyUnicode_InternFromString("get_write_buffer_size");
    is_closing_name = PyUnicode_InternFromString("is_closing");
    return descriptor_name && closing_name && transport_name && may_wait_name &&
                   buffer_size_name && is_closing_name
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
