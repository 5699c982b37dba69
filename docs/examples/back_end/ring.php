<?php
function snorky(string $service, string $command, array $params): mixed {
    $message = ["command" => $command, "params" => (object) $params];
    $request = curl_init("http://127.0.0.1:5002/backend");
    curl_setopt_array($request, [
        CURLOPT_POSTFIELDS => json_encode(["service" => $service, "message" => $message], JSON_THROW_ON_ERROR),
        CURLOPT_HTTPHEADER => ["X-Backend-Key: " . getenv("SNORKY_API_KEY"), "Content-Type: application/json"],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 5,
        CURLOPT_PROXY => "",
    ]);
    $body = curl_exec($request);
    if ($body === false) {
        throw new RuntimeException(curl_error($request));
    }
    $answer = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
    if (isset($answer["error"])) {
        throw new RuntimeException($answer["error"]);
    }
    if ($answer["message"]["type"] === "error") {
        throw new RuntimeException($answer["message"]["message"]);
    }
    return $answer["message"]["data"];
}

echo snorky("doorbell_backend", "ring", ["visitor" => "Ada"]), "\n";
