require "json"
require "net/http"

def snorky(service, command, params)
  http = Net::HTTP.new("127.0.0.1", 5002, nil)
  http.open_timeout = http.read_timeout = 5
  headers = {"X-Backend-Key" => ENV.fetch("SNORKY_API_KEY"), "Content-Type" => "application/json"}
  body = {service: service, message: {command: command, params: params}}.to_json
  answer = JSON.parse(http.post("/backend", body, headers).body)
  raise answer["error"] if answer["error"]
  raise answer["message"]["message"] if answer["message"]["type"] == "error"
  answer["message"]["data"]
end

puts snorky("doorbell_backend", "ring", {visitor: "Ada"})
