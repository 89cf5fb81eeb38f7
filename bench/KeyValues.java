// SPDX-License-Identifier: MIT
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.HashMap;
import java.util.Map;

/** Keys and values in the heap of a JVM, for one client on a socket: "set" and "get" as memcached has them. */
class KeyValues {
    private static final byte[] STORED = "STORED\r\n".getBytes();
    private static final byte[] END = "\r\nEND\r\n".getBytes();

    private final Map<String, byte[]> values = new HashMap<>();

    public static void main(String[] arguments) throws IOException {
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            listener.bind(UnixDomainSocketAddress.of(arguments[0]));
            try (SocketChannel client = listener.accept()) {
                new KeyValues().serve(new DataInputStream(new BufferedInputStream(Channels.newInputStream(client), 1 << 16)),
                        new BufferedOutputStream(Channels.newOutputStream(client)));
            }
        }
    }

    @SuppressWarnings("deprecation") // lines are ASCII, and values follow on the same stream
    private void serve(DataInputStream in, OutputStream out) throws IOException {
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("set")) {
                values.put(words[1], in.readNBytes(Integer.parseInt(words[4])));
                in.readLine();
                out.write(STORED);
            } else {
                out.write(answer(words[1], values.get(words[1])));
            }
            if (in.available() == 0)
                out.flush();
        }
    }

    private static byte[] answer(String key, byte[] value) {
        byte[] head = ("VALUE " + key + " 0 " + value.length + "\r\n").getBytes();
        byte[] all = new byte[head.length + value.length + END.length];
        System.arraycopy(head, 0, all, 0, head.length);
        System.arraycopy(value, 0, all, head.length, value.length);
        System.arraycopy(END, 0, all, head.length + value.length, END.length);
        return all;
    }
}
