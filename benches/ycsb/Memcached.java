// What YCSB asks of a database, said to memcached: one connection a YCSB thread, one command at a time.
//
// YCSB's own binding for memcached is not published where its core is, and gives each connection a thread of its own besides.
// Must not know rates, keys or times: those are YCSB's. Values are one field's bytes, so that they are as long as YCSB is told.

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.Vector;

import site.ycsb.ByteArrayByteIterator;
import site.ycsb.ByteIterator;
import site.ycsb.DB;
import site.ycsb.DBException;
import site.ycsb.Status;

/** YCSB's {@code -db Memcached}; {@code -p memcached.host=127.0.0.1 -p memcached.port=11211} say where it is. */
public class Memcached extends DB {
  private Socket socket;
  private InputStream in;
  private OutputStream out;

  @Override
  public void init() throws DBException {
    String host = getProperties().getProperty("memcached.host", "127.0.0.1");
    int port = Integer.parseInt(getProperties().getProperty("memcached.port", "11211"));
    try {
      socket = new Socket(host, port);
      socket.setTcpNoDelay(true);
      in = new BufferedInputStream(socket.getInputStream());
      out = socket.getOutputStream();
    } catch (IOException error) {
      throw new DBException(error);
    }
  }

  @Override
  public void cleanup() throws DBException {
    try {
      socket.close();
    } catch (IOException error) {
      throw new DBException(error);
    }
  }

  @Override
  public Status read(String table, String key, Set<String> fields, Map<String, ByteIterator> result) {
    try {
      out.write(("get " + key + "\r\n").getBytes(StandardCharsets.US_ASCII));
      String head = line();
      if (head.equals("END")) {
        return Status.NOT_FOUND;
      }
      if (!head.startsWith("VALUE ")) {
        return Status.ERROR;
      }
      byte[] value = in.readNBytes(Integer.parseInt(head.substring(head.lastIndexOf(' ') + 1)));
      result.put("field0", new ByteArrayByteIterator(value));
      return line().isEmpty() && line().equals("END") ? Status.OK : Status.ERROR;
    } catch (IOException error) {
      return Status.ERROR;
    }
  }

  @Override
  public Status update(String table, String key, Map<String, ByteIterator> values) {
    return insert(table, key, values);
  }

  @Override
  public Status insert(String table, String key, Map<String, ByteIterator> values) {
    byte[] value = values.values().iterator().next().toArray();
    ByteArrayOutputStream request = new ByteArrayOutputStream(value.length + 64);
    try {
      request.write(("set " + key + " 0 0 " + value.length + "\r\n").getBytes(StandardCharsets.US_ASCII));
      request.write(value);
      request.write('\r');
      request.write('\n');
      out.write(request.toByteArray());
      return line().equals("STORED") ? Status.OK : Status.ERROR;
    } catch (IOException error) {
      return Status.ERROR;
    }
  }

  @Override
  public Status delete(String table, String key) {
    return Status.NOT_IMPLEMENTED;
  }

  @Override
  public Status scan(String table, String start, int count, Set<String> fields,
      Vector<HashMap<String, ByteIterator>> result) {
    return Status.NOT_IMPLEMENTED;
  }

  /** The next line without its end. */
  private String line() throws IOException {
    StringBuilder line = new StringBuilder();
    for (int next = in.read(); next != '\n'; next = in.read()) {
      if (next < 0) {
        throw new EOFException();
      }
      line.append((char) next);
    }
    return line.substring(0, line.length() - 1);
  }
}
