/**
 * An HTTP API in front of the function. It turns requests into events of format 2.0 and the function's results into
 * responses, as https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 * describes.
 *
 * @module
 */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { handler } from "./lambda.ts";

interface Result {
  readonly statusCode: number;
  readonly headers?: Record<string, string>;
  readonly cookies?: string[];
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

createServer(async (request, response) => {
  const { pathname, search } = new URL(`http://api.invalid/${request.url?.replace(/^\//, "")}`);
  const { cookie, ...headers } = request.headers;
  const event = {
    version: "2.0",
    routeKey: "$default",
    rawPath: pathname,
    rawQueryString: search.slice(1),
    ...(cookie === undefined ? {} : { cookies: cookie.split("; ") }),
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat().join(",")])),
    requestContext: {
      domainName: request.headers.host,
      http: { method: request.method, path: pathname },
      authorizer: {},
    },
    body: await text(request),
    isBase64Encoded: false,
  };
  const result = (await handler(event as never, {} as never)) as Result;
  response.writeHead(result.statusCode, {
    ...result.headers,
    ...(result.cookies === undefined ? {} : { "Set-Cookie": result.cookies }),
  });
  response.end(Buffer.from(result.body, result.isBase64Encoded ? "base64" : "utf8"));
}).listen(Number(process.env["PORT"] ?? 3000));
