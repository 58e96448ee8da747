import { HttpStatusCode } from "@solidjs/start";

export default function Missing() {
  return (
    <>
      <HttpStatusCode code={404} />
      <p>Not found</p>
    </>
  );
}
