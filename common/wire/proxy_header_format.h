/* Numbers of the PROXY protocol, version 2: for proxy_header.c and proxy_header_write.c only. */
#ifndef TIDEGATE_PROXY_HEADER_FORMAT_H
#define TIDEGATE_PROXY_HEADER_FORMAT_H

#define V1_PREFIX      "PROXY "
#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_SIZE 12
#define FIXED_SIZE     16 /* signature, version and command, family, length */

enum {
    COMMAND_LOCAL = 0x20, /* with the version, 2, in the upper half */
    COMMAND_PROXY = 0x21
};

enum {
    FAMILY_UNSPEC = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_UDP4 = 0x12,
    FAMILY_TCP6 = 0x21,
    FAMILY_UDP6 = 0x22,
    FAMILY_UNIX_STREAM = 0x31,
    FAMILY_UNIX_DATAGRAM = 0x32
};

enum { V4_SIZE = 4, V6_SIZE = 16, PORT_SIZE = 2, UNIX_PATH_SIZE = 108 };

enum {
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23,
    TLV_NETNS = 0x30
};

enum { TLV_HEAD_SIZE = 3, CRC32C_SIZE = 4, SSL_FIXED_SIZE = 5 };

enum {
    CLIENT_SSL = 0x01,
    CLIENT_CERT_CONN = 0x02, /* presented on this connection */
    CLIENT_CERT_SESS = 0x04  /* or on an earlier one of the same session */
};

#endif
